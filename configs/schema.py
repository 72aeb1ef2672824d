"""Every setting of a run: YAML is these dataclasses and nothing else. Importing this module never imports torch.

Blocks named in `launch.stages.STAGES` enter a stage's key; `resources`, `tracking`, `slurm`, `ray` and `sweep` never
do, since they say how a result is computed, not what it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from sandwiching.configs.conditions_block import ConditionsConfig
from sandwiching.configs.data_blocks import (
    TASKS,
    CapitalsTask,
    DataConfig,
    JudgementsTask,
    PlantedTask,
    SplitsConfig,
    TaskConfig,
)
from sandwiching.configs.labels_block import ArmLabels, LabelCost, LabelsConfig
from sandwiching.configs.model_blocks import LoraConfig, ModelConfig, OptimizerConfig, SamplingConfig
from sandwiching.configs.monitor_block import MonitorConfig
from sandwiching.configs.people_block import ModelRaterConfig, PeopleFiles, PeopleKind
from sandwiching.configs.ray_block import RayConfig
from sandwiching.configs.slurm_block import ContainerConfig, SlurmConfig
from sandwiching.configs.stage_blocks import (
    CheckConfig,
    GateConfig,
    JudgementsConfig,
    KLConfig,
    PairsConfig,
    PlantConfig,
    PPOConfig,
    RewardModelConfig,
    SftConfig,
)
from sandwiching.configs.sweep_block import SweepConfig

__all__ = [
    "TASKS",
    "ArmConfig",
    "ArmLabels",
    "BestConfig",
    "CapitalsTask",
    "CheckConfig",
    "ConditionsConfig",
    "Config",
    "ContainerConfig",
    "DataConfig",
    "GateConfig",
    "JudgementsConfig",
    "JudgementsTask",
    "KLConfig",
    "LabelCost",
    "LabelsConfig",
    "LoraConfig",
    "ModelConfig",
    "ModelRaterConfig",
    "MonitorConfig",
    "OptimizerConfig",
    "PPOConfig",
    "PairsConfig",
    "PeopleFiles",
    "PeopleKind",
    "PlantConfig",
    "PlantedTask",
    "RayConfig",
    "ResourcesConfig",
    "RewardModelConfig",
    "SamplingConfig",
    "SftConfig",
    "SlurmConfig",
    "SplitsConfig",
    "SweepConfig",
    "TaskConfig",
    "TrackingConfig",
]


@dataclass(kw_only=True)
class ArmConfig:
    """One way of training, a row of the report. Other keys of an arm are overrides of the blocks they name."""

    tier: str = "weak"
    """Whose judgements train the reward model: weak or expert."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Blocks as they differ in this arm; in YAML they stand beside `tier`."""


@dataclass(kw_only=True)
class VLLMConfig:
    """How rollouts by vLLM are done (ppo.engine=vllm)."""

    python: str | None = None
    """Python of the environment that has vLLM; null: .venv-vllm (`make setup-vllm`), else this one."""
    tensor_parallel: int = 1
    """GPUs that share one engine."""
    memory_share: float = 0.3
    """Share of a GPU's memory for weights, keys and values of one engine."""
    threads: int | None = None
    """Threads of one engine on CPU; null: as many as its trainer has, which works meanwhile with ppo.staleness=1."""
    start_timeout: float = 300.0
    """Seconds until an engine has to answer."""
    timeout: float = 1800.0
    """Seconds for one request (a rollout, a push of weights); then the engine is started again."""


@dataclass(kw_only=True)
class BestConfig:
    """Which checkpoint is the best."""

    metric: str = MISSING
    """A key of metrics.jsonl, as ppo/score."""
    mode: str = "max"
    """max or min."""


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
    placement: str = "pack"
    """How bundles of devices lie on a Ray cluster: pack (few nodes), spread (many), strict_spread (a node each)."""
    zero_stage: int = 1
    """DeepSpeed ZeRO stage: 0 to 3."""
    offload: bool = False
    """Optimiser state in host memory."""
    micro_batch: int = 8
    """Sequences a forward and backward pass on one rank; PPO sorts them by length, and takes more that are shorter."""
    rollout_batch: int = 64
    """Sequences generated at once by one engine."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass."""
    kernels: str = "auto"
    """Backend of the fused ops: auto, torch, triton, cuda, or reference (plain torch, to compare with)."""
    checkpoint_every: int = 20
    """Optimiser steps (SFT, reward model) or PPO steps between checkpoints."""
    async_save: bool = True
    """Training goes on while a checkpoint, copied into host memory, is written."""
    keep: int = 2
    """Newest checkpoints kept."""
    keep_finished: int = 0
    """The same once the stage is done, when nothing resumes from them any more."""
    keep_best: BestConfig | None = None
    """One more that is kept: the best by a metric, of the stages that have it."""
    start_timeout: float = 120.0
    """Seconds to wait for a Ray cluster's nodes, for room on them, and for processes to start there."""
    load_timeout: float = 1800.0
    """Seconds for a process on Ray to load its models, or to take new weights after a loss."""
    call_timeout: float = 7200.0
    """Seconds for one call of a role on Ray (a rollout, an update); its process counts as lost after them."""
    profile: bool = False
    """Trace the second PPO step of this start (`sandwich run --profile`): profile.json and profile.txt beside it."""
    vllm: VLLMConfig = field(default_factory=VLLMConfig)
    """Rollouts by vLLM."""


@dataclass(kw_only=True)
class TrackingConfig:
    """Where metrics go besides metrics.jsonl."""

    to: list[str] = field(default_factory=lambda: ["tensorboard"])
    """Trackers of Hugging Face accelerate: tensorboard, wandb, mlflow, trackio, comet_ml, aim, clearml, dvclive or
    swanlab."""
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
    plant: PlantConfig | None = field(default=None)
    """What the base model is taught first, in tasks that plant something; null teaches it nothing."""
    sft: SftConfig | None = field(default_factory=SftConfig)
    """Supervised fine-tuning; null starts from the base model."""
    pairs: PairsConfig = field(default_factory=PairsConfig)
    """Pairs for raters."""
    judgements: JudgementsConfig = field(default_factory=JudgementsConfig)
    """Judgements."""
    gate: GateConfig | None = field(default_factory=GateConfig)
    """Whether weak judgements carry a signal; null does not ask."""
    labels: LabelsConfig = field(default_factory=LabelsConfig)
    """Rounds, and what labels are spent on."""
    reward_model: RewardModelConfig = field(default_factory=RewardModelConfig)
    """Reward model."""
    ppo: PPOConfig | None = field(default_factory=PPOConfig)
    """PPO; null stops after the reward models and checks those."""
    check: CheckConfig = field(default_factory=CheckConfig)
    """Check."""
    conditions: ConditionsConfig = field(default_factory=ConditionsConfig)
    """Stability conditions."""
    monitor: MonitorConfig | None = None
    """Monitors of the policies along PPO, of tasks with gold; null watches nothing."""
    resources: ResourcesConfig = field(default_factory=ResourcesConfig)
    """How."""
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    """Trackers."""
    slurm: SlurmConfig = field(default_factory=SlurmConfig)
    """How SLURM is asked."""
    ray: RayConfig = field(default_factory=RayConfig)
    """How the job server of a Ray cluster is asked."""
    sweep: SweepConfig | None = None
    """Hyperparameter search (`sandwich sweep`)."""
