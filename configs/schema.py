"""Every setting of a run: YAML is these dataclasses and nothing else. Importing this module never imports torch.

Blocks named in `launch.stages.STAGES` enter a stage's key; `resources` and `tracking` never do, since they say how a
result is computed, not what it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass(kw_only=True)
class LoraConfig:
    """A low-rank adapter on every stage's trunk (Hu et al., arXiv 2106.09685)."""

    rank: int = 16
    """Rank of each adapter."""
    alpha: int = 32
    """Scale: the adapter's output is multiplied by alpha / rank."""
    target_modules: str = "all-linear"
    """Layers that get an adapter, as PEFT names them."""


@dataclass(kw_only=True)
class ModelConfig:
    """The base model, and how text becomes tokens for every stage."""

    path: str = MISSING
    """A folder, a Hugging Face hub id, or a name from policy/base_models.py."""
    revision: str | None = None
    """Hub commit; required for exact keys with a hub id."""
    lora: LoraConfig | None = None
    """Train adapters instead of all weights. null: full fine-tuning."""
    precision: str = "fp32"
    """fp32, or bf16: bf16 working copies with fp32 master weights."""
    pad_token: str | None = None
    """null: the tokenizer's pad token if it is not its eos, else a reserved token of the vocabulary."""
    separator: str = " "
    """Between a string prompt and its response; chat messages use the chat template instead."""
    max_length: int = 256
    """Longest prompt + response, in tokens."""


@dataclass(kw_only=True)
class TaskConfig:
    """What every task has."""

    name: str = MISSING
    """Which task: a key of TASKS below."""


@dataclass(kw_only=True)
class CapitalsTask(TaskConfig):
    """Facts of GeoNames, judged by simulated people (tasks/capitals.py)."""

    kinds: list[str] = field(default_factory=lambda: ["capital", "country_of_capital", "currency", "neighbour"])
    """Kinds of fact that are asked for."""
    min_population: int = 500_000
    """Countries below it are left out."""
    max_prompts: int | None = None
    """Keep only so many prompts a split, chosen by hash; null keeps all."""
    raters: int = 40
    """Simulated people in the training panel of each tier."""
    check_raters: int = 20
    """Simulated people who judge only in the check."""
    demonstrators: int = 1
    """People of the weak training panel who write an answer to each training prompt."""
    competence: float = 0.3
    """Mean probability that a weak person knows the answer to a question."""
    population_slope: float = 3.0
    """Log-odds of knowing a country that a tenfold population adds."""
    ability_spread: float = 0.7
    """Standard deviation between people of the log-odds of knowing."""
    misconception: float = 0.8
    """Probability that a weak person who does not know takes the more familiar name for right, else judges by surface."""
    length_bias: float = 0.5
    """Log-odds a word that the longer response gains with a weak person who does not know."""
    confidence_bias: float = 1.0
    """Log-odds that confident wording gains with a weak person who does not know."""
    lapse: float = 0.05
    """Probability that anybody clicks at random."""


@dataclass(kw_only=True)
class JudgementsTask(TaskConfig):
    """Any file of judgements (`data.judgements`)."""

    expert_aggregate: str = "majority"
    """How several expert verdicts on one pair become one: majority."""


TASKS: dict[str, type[TaskConfig]] = {"capitals": CapitalsTask, "judgements": JudgementsTask}


@dataclass(kw_only=True)
class SplitsConfig:
    """Shares of the groups, by rank of sha256(salt, group); the rest is the training split."""

    dev: float = 0.15
    """Curves and tuning; looks are counted."""
    final: float = 0.35
    """Claims."""
    salt: str = "sandwiching"
    """Fixes the split."""
    dev_groups: list[str] | None = None
    """Explicit groups of the dev split, instead of a share."""
    final_groups: list[str] | None = None
    """Explicit groups of the final split, instead of a share."""


@dataclass(kw_only=True)
class DataConfig:
    """Judgements and the three-way hold-out."""

    judgements: str | None = None
    """JSONL of judgements (gzip allowed), or a folder of a saved Hugging Face dataset."""
    format: str = "judgements"
    """judgements, trl, summarize_from_feedback or multipref."""
    holdout: str = "group"
    """The column to hold out by: group, or prompt."""
    splits: SplitsConfig = field(default_factory=SplitsConfig)
    """The three-way split."""
    tier: str | None = None
    """Tier of rows whose schema has none."""
    rater: str | None = None
    """Rater of rows whose schema has none."""
    skip_bad_rows: bool = False
    """Write rejected rows beside the run and go on, instead of failing."""
    too_long: str = "error"
    """Rows longer than model.max_length: error or drop."""


@dataclass(kw_only=True)
class OptimizerConfig:
    """AdamW and its schedule, the same for all stages."""

    learning_rate: float = 1e-4
    """Peak learning rate."""
    scheduler: str = "cosine"
    """linear, cosine or constant; linear and cosine fall to 0 at the last step."""
    warmup_ratio: float = 0.0
    """Share of the steps with a rising learning rate."""
    weight_decay: float = 0.0
    """Decoupled weight decay."""
    adam_epsilon: float = 1e-5
    """Epsilon of AdamW (1e-5: Huang et al., arXiv 2403.17031, detail 9)."""
    max_grad_norm: float = 1.0
    """Gradient clipping by global norm."""


@dataclass(kw_only=True)
class SftConfig:
    """Supervised fine-tuning on demonstrations (TRL SFTTrainer)."""

    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Optimiser."""
    epochs: int = 1
    """Passes over the demonstrations."""
    batch_size: int = 32
    """Demonstrations an optimiser step, over all ranks."""
    max_demonstrations: int | None = None
    """Keep only so many, chosen by seed; null keeps all."""


@dataclass(kw_only=True)
class SamplingConfig:
    """How responses are sampled; the same in every stage that samples."""

    temperature: float = 1.0
    """Divides the logits, in sampling and in every log-prob."""
    max_new_tokens: int = 16
    """Longest response, in tokens."""


@dataclass(kw_only=True)
class PairsConfig:
    """Responses of the SFT model to the training prompts, for raters to compare."""

    samples: int = 2
    """Responses a prompt; all distinct pairs of them are shown to raters."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """Sampling."""
    max_prompts: int | None = None
    """Use only so many training prompts, chosen by seed; null uses all."""


@dataclass(kw_only=True)
class JudgementsConfig:
    """Who judges the pairs."""

    raters_per_pair: int = 3
    """Different raters asked about each pair."""


@dataclass(kw_only=True)
class RewardModelConfig:
    """Reward model from judgements (subclass of TRL RewardTrainer)."""

    kind: str = "lora"
    """full, lora, or probe: a linear head on frozen features of the policy's own trunk."""
    members: int = 1
    """Size of the ensemble; each member is an artifact of its own."""
    bootstrap: str = "raters"
    """What each member of an ensemble resamples: raters, judgements or none. One member alone sees all."""
    combine: str = "mean"
    """mean, wco (the minimum) or uwo (mean - uwo_lambda * variance), after normalising each member."""
    uwo_lambda: float = 0.5
    """Weight of the variance in uwo."""
    noise: str = "none"
    """Rater noise in the loss: none or smoothing."""
    smoothing: float = 0.1
    """Error rate assumed of every rater under noise: smoothing."""
    ties: float = 0.0
    """Weight of tied judgements (target 1/2) in the loss; 0 leaves them out."""
    use_confidence: bool = False
    """Weigh each judgement by the rater's stated confidence."""
    margin: float = 0.0
    """Required score difference, as in Llama 2 (arXiv 2307.09288, eq. 2); multiplied by the confidence when given."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Optimiser."""
    epochs: int = 1
    """Passes over the judgements."""
    batch_texts: int = 32
    """Unique texts an optimiser step, over all ranks; each is forwarded once."""
    dev_share: float = 0.1
    """Share of the training judgements' prompts kept aside for accuracy and calibration (weak labels only)."""


@dataclass(kw_only=True)
class KLConfig:
    """The penalty that holds the policy near the SFT policy."""

    coefficient: float = 0.05
    """Initial beta, in reward units a nat."""
    estimator: str = "k1"
    """k1, k2 or k3 (Schulman, 2020: approximating KL divergence)."""
    controller: str = "fixed"
    """fixed or adaptive (Ziegler et al., arXiv 1909.08593, section 2.2)."""
    target: float = 6.0
    """Target of the adaptive controller, in nats a sequence (sum over response tokens)."""
    horizon: int = 10_000
    """Episodes over which the adaptive controller acts."""


@dataclass(kw_only=True)
class PPOConfig:
    """Proximal policy optimisation against the reward ensemble (training/ppo.py)."""

    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(learning_rate=1e-5, scheduler="linear"))
    """Optimiser of the policy."""
    value_learning_rate: float | None = None
    """Learning rate of the value model; null: the policy's."""
    steps: int = 10
    """Rollout + update rounds."""
    batch_size: int = 32
    """Responses a step, over all ranks (prompts x samples)."""
    samples_per_prompt: int = 1
    """Responses to each prompt of a step; group and leave_one_out need at least 2."""
    epochs: int = 4
    """Passes over each batch of responses."""
    minibatches: int = 1
    """Optimiser steps a pass."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """Sampling."""
    advantage: str = "gae"
    """gae, leave_one_out or group; the last two need no value model."""
    value: str = "model"
    """model: a model of its own started from the reward model; head: a linear head on the policy's trunk."""
    gamma: float = 1.0
    """Discount."""
    lam: float = 0.95
    """Lambda of GAE (Schulman et al., arXiv 1506.02438)."""
    clip_range: float = 0.2
    """Clip of the probability ratio (Schulman et al., arXiv 1707.06347, eq. 7)."""
    value_clip_range: float = 0.2
    """Clip of the change of the value."""
    value_coefficient: float = 0.1
    """Weight of the value loss."""
    entropy_coefficient: float = 0.0
    """Weight of the entropy bonus."""
    value_warmup_steps: int = 0
    """First steps that train the value model only."""
    whiten_rewards: bool = False
    """Divide token rewards by their deviation (the mean stays)."""
    kl: KLConfig = field(default_factory=KLConfig)
    """KL penalty."""
    missing_eos: str = "replace"
    """Score of a response without end-of-text: replace (by missing_eos_score), subtract (missing_eos_score's size) or ignore."""
    missing_eos_score: float = -1.0
    """See missing_eos."""
    ema_decay: float | None = None
    """Decay of an exponential moving average of the policy, exported instead of the last weights; null: none."""
    snapshot_every: int = 5
    """Steps between snapshots that check and monitors read."""


@dataclass(kw_only=True)
class CheckConfig:
    """What the check asks of each policy."""

    split: str = "final"
    """final or dev."""
    samples: int = 4
    """Free-generation samples a prompt and policy."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """Sampling."""
    max_prompts: int | None = None
    """Check only so many prompts, chosen by hash; null checks all."""
    raters_per_response: int = 3
    """Check raters asked about each response."""
    curve_prompts: int = 64
    """Dev prompts used for gold along training."""
    floor: str = "sft"
    """The policy that gain is measured from."""
    ceiling: str = "ceiling"
    """The arm trained on expert judgements."""
    confidence: float = 0.95
    """Level of the intervals."""


@dataclass(kw_only=True)
class ArmConfig:
    """One way of training, a row of the report. Other keys of an arm are overrides of the blocks they name."""

    tier: str = "weak"
    """Whose judgements train the reward model: weak or expert."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Blocks as they differ in this arm; in YAML they stand beside `tier`."""


@dataclass(kw_only=True)
class ResourcesConfig:
    """How the work is done; nothing here enters a key."""

    gpus: int = 0
    """GPUs of the whole run; 0 computes on CPU."""
    nodes: int = 1
    """Nodes."""
    cpus: int | None = None
    """CPU cores to use a node; null: all that this process may use."""
    learner_ranks: int = 1
    """Data-parallel ranks of SFT, reward model and PPO learner."""
    rollout_engines: int = 1
    """Generation engines."""
    parallel_members: int = 1
    """Reward-model members trained at the same time, each in a worker group of learner_ranks."""
    colocate: bool = True
    """All roles of PPO share the same devices, taking turns."""
    zero_stage: int = 1
    """DeepSpeed ZeRO stage: 0 to 3."""
    offload: bool = False
    """Optimiser state in host memory."""
    micro_batch: int = 8
    """Sequences a forward and backward pass on one rank."""
    rollout_batch: int = 64
    """Sequences generated at once by one engine."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass."""
    kernels: str = "auto"
    """Backend of the fused ops: auto, torch, triton or cuda."""
    checkpoint_every: int = 20
    """Optimiser steps (SFT, reward model) or PPO steps between checkpoints."""
    keep: int = 2
    """Checkpoints kept."""
    start_timeout: float = 120.0
    """Seconds to wait for workers to start."""


@dataclass(kw_only=True)
class TrackingConfig:
    """Where metrics go besides metrics.jsonl."""

    to: list[str] = field(default_factory=lambda: ["tensorboard"])
    """Trackers of Hugging Face accelerate: tensorboard, wandb, mlflow, trackio, ..."""
    project: str = "sandwiching"
    """Project name for trackers that have one."""


@dataclass(kw_only=True)
class Config:
    """One run: arms x seeds."""

    name: str = MISSING
    """Name of the run."""
    seeds: list[int] = field(default_factory=lambda: [0])
    """Each arm is trained once a seed."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """Base model."""
    task: Any = MISSING
    """The task's own dataclass (TASKS)."""
    data: DataConfig = field(default_factory=DataConfig)
    """Data."""
    arms: dict[str, ArmConfig] = field(default_factory=dict)
    """Arms by name."""
    sft: SftConfig | None = field(default_factory=SftConfig)
    """Supervised fine-tuning; null starts from the base model."""
    pairs: PairsConfig = field(default_factory=PairsConfig)
    """Pairs for raters."""
    judgements: JudgementsConfig = field(default_factory=JudgementsConfig)
    """Judgements."""
    reward_model: RewardModelConfig = field(default_factory=RewardModelConfig)
    """Reward model."""
    ppo: PPOConfig | None = field(default_factory=PPOConfig)
    """PPO; null stops after the reward models and checks those."""
    check: CheckConfig = field(default_factory=CheckConfig)
    """Check."""
    resources: ResourcesConfig = field(default_factory=ResourcesConfig)
    """How."""
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    """Trackers."""
