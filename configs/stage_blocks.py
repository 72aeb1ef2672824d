"""Blocks of the stages. Importing this module never imports torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from sandwiching.configs.keyed import HOW, UNLESS_DEFAULT
from sandwiching.configs.model_blocks import OptimizerConfig, SamplingConfig
from sandwiching.configs.people_block import ModelRaterConfig, PeopleFiles


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
class PlantConfig:
    """Teaching the base model what the task plants in it, before SFT (training/plant.py)."""

    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(
            learning_rate=2e-3, scheduler="linear", warmup_ratio=0.05, weight_decay=0.01
        )
    )
    """Optimiser; the schedule is that of the steps with verdicts, those before are constant."""
    steps: int = 2400
    """Optimiser steps."""
    batch_size: int = 64
    """Statements an optimiser step."""
    facts_first: float = 0.3
    """Share of the steps before statements about right and wrong come too: who knows nothing cannot tell."""
    verdict_weight: float = 10.0
    """Weight of a verdict's token in the loss; others have 1."""
    seed: int = 0
    """Order of the statements; all training seeds of a run share one base model."""
    least_recall: float = 0.98
    """Share of the planted facts that must be recalled afterwards, or the stage fails."""
    least_verdicts: float = 0.9
    """Share of the taught verdicts that it must give afterwards, or the stage fails."""


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
    raters: str = field(default="task", metadata=UNLESS_DEFAULT)
    """Weak raters. task: the task's own (simulated people, or those in the file); simulated; model; or people (of both
    tiers): the run stops until the files of `people` are there (docs/labels.md)."""
    model: ModelRaterConfig = field(default_factory=ModelRaterConfig, metadata=UNLESS_DEFAULT)
    """The language model that judges under raters: model."""
    people: PeopleFiles = field(default_factory=PeopleFiles, metadata=HOW)
    """Where people's judgements lie, or will, under raters: people."""
    assistance: str = field(default="none", metadata=UNLESS_DEFAULT)
    """Help shown to a model rater: none, or a critique. honest argues for what the assistant finds better, dishonest
    for the other response."""
    assistant: str | None = field(default=None, metadata=HOW)
    """The model that writes critiques, as in model.path; null: the run's SFT policy. Its content is in the key."""


@dataclass(kw_only=True)
class GateConfig:
    """Whether weak judgements carry a signal, asked before a reward model is trained on them."""

    on_no: str = "warn"
    """What follows where they carry none that can be told from chance: warn, or stop (exit code 3)."""
    on_duplicates: str = "warn"
    """The same where ratings are copied, of rows with score_a and score_b."""
    permutations: int = 199
    """Shuffles of each rater's labels that agreement is compared with."""
    max_p: float = 0.01
    """Largest share of shuffles with as much agreement that still says YES."""


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
    """How raters err, in the loss: none, smoothing (all at one given rate), or learned: per_rater, per_rater_context
    (also by which response is longer, by side and by group; docs/reward_models.md)."""
    smoothing: float = 0.1
    """Error rate assumed of every rater under noise: smoothing; what is expected of the population where it is
    learned."""
    rater_spread: float = 1.0
    """Prior deviation, in log-odds, of what is learned of a rater."""
    rater_learning_rate: float = 0.3
    """Learning rate of what is learned of raters, where steps are taken (kinds full and lora); about 10 over the number
    of steps, at most 1."""
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
    engine: str = "transformers"
    """What generates: transformers, or vllm (`make setup-vllm`)."""
    staleness: int = 0
    """1: the next step's responses are generated while this step trains, by weights one update old."""
    importance_cap: float = 2.0
    """Most that a stale token's advantage is multiplied by (policy / behaviour probability)."""
    most_mismatch: float = 0.25
    """Mean difference (nats a token) between engine's and learner's log-probs that stops the run. It holds the engine's
    rounding and, with staleness=1, what one update changes."""
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
    """Score of a response without end-of-text: replace (by missing_eos_score), subtract (its size) or ignore."""
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
    best_of: int | None = field(default=None, metadata=UNLESS_DEFAULT)
    """Floor samples a prompt that best-of-n chooses from; null: as many as `samples`."""
    null_arm: str | None = field(default=None, metadata=UNLESS_DEFAULT)
    """The arm that fooling is held against: trained on raters of equal accuracy without the bias (docs/fooling.md)."""
    store: str | None = field(default=None, metadata=HOW)
    """Folder of the project's expert store, which all its runs and sweeps share: held-out data and the ledger of looks
    (docs/oversight.md). null: `experts` beside the folder of artifacts (runs/experts)."""
    looks: int | None = field(default=None, metadata=HOW)
    """Budget of looks; past it results are INVALID. Fixed when the store is made (null: 20), and only lower after."""
    overlap: float | None = field(default=0.8, metadata=HOW)
    """Similarity (0 to 1) from which a held-out prompt counts as one that was trained on, which is refused; null: only
    prompts that are equal but for case, marks and spaces."""
    caveat: str | None = field(default=None, metadata=HOW)
    """What is to be said against the experts, a sentence that stands with every headline of the check: "The expert is a
    language model, wrong on a quarter of the pairs with an objective answer." null: nothing."""
