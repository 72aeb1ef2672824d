"""Which values each setting of schema.py may have. Keys are `<dataclass>.<setting>`; a test holds them complete."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`; `open_low` leaves `low` itself out."""

    low: float
    high: float = math.inf
    open_low: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        return above and value <= self.high and math.isfinite(value)

    def __str__(self) -> str:
        floor = f"above {self.low:g}" if self.open_low else f"at least {self.low:g}"
        return floor if self.high == math.inf else f"{floor} and at most {self.high:g}"


AT_LEAST_0 = Range(0)
ABOVE_0 = Range(0, open_low=True)
AT_LEAST_1 = Range(1)
AT_LEAST_2 = Range(2)
SHARE = Range(0, 1)
BELOW_1 = Range(0, 0.999999)
SHARE_ABOVE_0 = Range(0, 1, open_low=True)
INSIDE_SHARE = Range(0, 0.999999, open_low=True)
ANY = Range(-math.inf)

RANGES: dict[str, Range] = {
    "LoraConfig.rank": AT_LEAST_1,
    "LoraConfig.alpha": AT_LEAST_1,
    "ModelConfig.max_length": AT_LEAST_2,
    "CapitalsTask.min_population": AT_LEAST_0,
    "CapitalsTask.max_prompts": AT_LEAST_1,
    "CapitalsTask.raters": AT_LEAST_1,
    "CapitalsTask.check_raters": AT_LEAST_1,
    "CapitalsTask.demonstrators": AT_LEAST_1,
    "CapitalsTask.competence": INSIDE_SHARE,
    "CapitalsTask.population_slope": ANY,
    "CapitalsTask.ability_spread": AT_LEAST_0,
    "CapitalsTask.misconception": SHARE,
    "CapitalsTask.length_bias": ANY,
    "CapitalsTask.confidence_bias": ANY,
    "CapitalsTask.lapse": SHARE,
    "SplitsConfig.dev": BELOW_1,
    "SplitsConfig.final": BELOW_1,
    "OptimizerConfig.learning_rate": ABOVE_0,
    "OptimizerConfig.warmup_ratio": SHARE,
    "OptimizerConfig.weight_decay": AT_LEAST_0,
    "OptimizerConfig.adam_epsilon": ABOVE_0,
    "OptimizerConfig.max_grad_norm": ABOVE_0,
    "SftConfig.epochs": AT_LEAST_1,
    "SftConfig.batch_size": AT_LEAST_1,
    "SftConfig.max_demonstrations": AT_LEAST_1,
    "SamplingConfig.temperature": ABOVE_0,
    "SamplingConfig.max_new_tokens": AT_LEAST_1,
    "PairsConfig.samples": AT_LEAST_2,
    "PairsConfig.max_prompts": AT_LEAST_1,
    "JudgementsConfig.raters_per_pair": AT_LEAST_1,
    "GateConfig.permutations": Range(19),
    "GateConfig.max_p": Range(0, 0.5, open_low=True),
    "RewardModelConfig.members": AT_LEAST_1,
    "RewardModelConfig.uwo_lambda": AT_LEAST_0,
    "RewardModelConfig.smoothing": Range(0, 0.499999),
    "RewardModelConfig.ties": AT_LEAST_0,
    "RewardModelConfig.margin": AT_LEAST_0,
    "RewardModelConfig.epochs": AT_LEAST_1,
    "RewardModelConfig.batch_texts": AT_LEAST_2,
    "RewardModelConfig.dev_share": BELOW_1,
    "KLConfig.coefficient": AT_LEAST_0,
    "KLConfig.target": ABOVE_0,
    "KLConfig.horizon": AT_LEAST_1,
    "PPOConfig.value_learning_rate": ABOVE_0,
    "PPOConfig.steps": AT_LEAST_1,
    "PPOConfig.batch_size": AT_LEAST_1,
    "PPOConfig.samples_per_prompt": AT_LEAST_1,
    "PPOConfig.epochs": AT_LEAST_1,
    "PPOConfig.minibatches": AT_LEAST_1,
    "PPOConfig.gamma": SHARE_ABOVE_0,
    "PPOConfig.lam": SHARE,
    "PPOConfig.clip_range": SHARE_ABOVE_0,
    "PPOConfig.value_clip_range": ABOVE_0,
    "PPOConfig.value_coefficient": AT_LEAST_0,
    "PPOConfig.entropy_coefficient": AT_LEAST_0,
    "PPOConfig.value_warmup_steps": AT_LEAST_0,
    "PPOConfig.missing_eos_score": ANY,
    "PPOConfig.ema_decay": INSIDE_SHARE,
    "PPOConfig.snapshot_every": AT_LEAST_1,
    "PPOConfig.staleness": Range(0, 1),
    "PPOConfig.importance_cap": AT_LEAST_1,
    "PPOConfig.most_mismatch": ABOVE_0,
    "CheckConfig.samples": AT_LEAST_1,
    "CheckConfig.max_prompts": AT_LEAST_1,
    "CheckConfig.raters_per_response": AT_LEAST_1,
    "CheckConfig.curve_prompts": AT_LEAST_1,
    "CheckConfig.confidence": Range(0.5, 0.9999),
    "ResourcesConfig.gpus": AT_LEAST_0,
    "ResourcesConfig.nodes": AT_LEAST_1,
    "ResourcesConfig.cpus": AT_LEAST_1,
    "ResourcesConfig.learner_ranks": AT_LEAST_1,
    "ResourcesConfig.rollout_engines": AT_LEAST_1,
    "ResourcesConfig.parallel_members": AT_LEAST_1,
    "ResourcesConfig.zero_stage": Range(0, 3),
    "ResourcesConfig.micro_batch": AT_LEAST_1,
    "ResourcesConfig.rollout_batch": AT_LEAST_1,
    "ResourcesConfig.checkpoint_every": AT_LEAST_1,
    "ResourcesConfig.keep": AT_LEAST_1,
    "ResourcesConfig.keep_finished": AT_LEAST_0,
    "ResourcesConfig.start_timeout": ABOVE_0,
    "ResourcesConfig.call_timeout": ABOVE_0,
    "VLLMConfig.tensor_parallel": AT_LEAST_1,
    "VLLMConfig.memory_share": INSIDE_SHARE,
    "VLLMConfig.threads": AT_LEAST_1,
    "VLLMConfig.start_timeout": ABOVE_0,
    "VLLMConfig.timeout": ABOVE_0,
    "SlurmConfig.signal_seconds": Range(1, 65535),
    "SlurmConfig.most_restarts": AT_LEAST_0,
    "RayConfig.driver_cpus": AT_LEAST_0,
    "RayConfig.stop_seconds": AT_LEAST_1,
    "SweepConfig.trials": AT_LEAST_1,
    "SweepConfig.parallel": AT_LEAST_1,
    "SweepConfig.grace": AT_LEAST_1,
    "SweepConfig.reduction_factor": AT_LEAST_2,
    "SweepConfig.seed": Range(0, 2**31),
}

TRACKERS = ("tensorboard", "wandb", "mlflow", "trackio", "comet_ml", "aim", "clearml", "dvclive", "swanlab")
"""Those of Hugging Face accelerate."""

CHOICES: dict[str, tuple[str, ...]] = {
    "ModelConfig.precision": ("fp32", "bf16"),
    "CapitalsTask.kinds": ("capital", "country_of_capital", "currency", "neighbour"),
    "DataConfig.format": ("judgements", "trl", "summarize_from_feedback", "multipref"),
    "DataConfig.holdout": ("group", "prompt"),
    "DataConfig.tier": ("weak", "expert"),
    "DataConfig.too_long": ("error", "drop"),
    "OptimizerConfig.scheduler": ("linear", "cosine", "constant"),
    "GateConfig.on_no": ("warn", "stop"),
    "GateConfig.on_duplicates": ("warn", "stop"),
    "RewardModelConfig.kind": ("full", "lora", "probe"),
    "RewardModelConfig.bootstrap": ("raters", "judgements", "none"),
    "TrackingConfig.to": (
        "tensorboard",
        "wandb",
        "mlflow",
        "trackio",
        "comet_ml",
        "aim",
        "clearml",
        "dvclive",
        "swanlab",
    ),
    "RewardModelConfig.combine": ("mean", "wco", "uwo"),
    "RewardModelConfig.noise": ("none", "smoothing"),
    "KLConfig.estimator": ("k1", "k2", "k3"),
    "KLConfig.controller": ("fixed", "adaptive"),
    "PPOConfig.advantage": ("gae", "leave_one_out", "group"),
    "PPOConfig.value": ("model", "head"),
    "PPOConfig.engine": ("transformers", "vllm"),
    "PPOConfig.missing_eos": ("replace", "subtract", "ignore"),
    "CheckConfig.split": ("final", "dev"),
    "CheckConfig.floor": ("sft",),
    "ArmConfig.tier": ("weak", "expert"),
    "ResourcesConfig.kernels": ("auto", "torch", "triton", "cuda", "reference"),
    "ResourcesConfig.placement": ("pack", "spread", "strict_spread"),
    "ContainerConfig.runtime": ("pyxis", "apptainer"),
    "BestConfig.mode": ("max", "min"),
    "SweepConfig.mode": ("max", "min"),
    "SweepConfig.search": ("optuna", "random", "grid"),
    "SweepConfig.scheduler": ("asha", "none"),
}

FREE_TEXT = (
    "LoraConfig.target_modules",
    "ModelConfig.path",
    "ModelConfig.revision",
    "ModelConfig.pad_token",
    "ModelConfig.separator",
    "CapitalsTask.name",
    "JudgementsTask.name",
    "SplitsConfig.salt",
    "DataConfig.judgements",
    "DataConfig.rater",
    "CheckConfig.ceiling",
    "TrackingConfig.project",
    "BestConfig.metric",
    "VLLMConfig.python",
    "SlurmConfig.account",
    "SlurmConfig.partition",
    "SlurmConfig.qos",
    "SlurmConfig.gres",
    "SlurmConfig.constraint",
    "SlurmConfig.time",
    "SlurmConfig.prologue",
    "SlurmConfig.scratch",
    "ContainerConfig.image",
    "SweepConfig.metric",
    "Config.name",
)
"""Text that may be anything here; some of it is checked in validate.py, slurm_block.py and sweep_check.py."""
