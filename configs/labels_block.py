"""How labels are spent: rounds of judging, which pairs are judged next, what a label costs. Never imports torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from sandwiching.configs.data_blocks import TaskConfig
from sandwiching.configs.keyed import HOW, UNLESS_DEFAULT


@dataclass(kw_only=True)
class LabelCost:
    """Cost units of one judgement, by who gave it."""

    weak: float = 1.0
    """Of the weak tier."""
    expert: float = 10.0
    """Of the expert tier."""


@dataclass(kw_only=True)
class LabelsConfig:
    """Rounds of pairs -> judgements -> reward models -> PPO, and the pairs that each round spends labels on."""

    rounds: int = field(default=1, metadata=HOW)
    """Rounds. Each trains reward models on all judgements so far; its pairs come from the policy of the round before,
    or, with ppo: null, from the same SFT pairs."""
    pairs_per_round: int | None = field(default=None, metadata=UNLESS_DEFAULT)
    """Pairs judged a round, never one twice; null: all."""
    choose: str = field(default="uniform", metadata=UNLESS_DEFAULT)
    """Which pairs: uniform, or variance (those on which the reward models of the round before disagree most). The first
    round is uniform, since there are no reward models yet."""
    cost: LabelCost = field(default_factory=LabelCost, metadata=HOW)
    """Cost units of one judgement."""


@dataclass(kw_only=True)
class ArmLabels:
    """Who labels for an arm, for the check to ask such raters about held-out pairs; no setting of a run."""

    tier: str
    """weak or expert."""
    raters: str
    """As judgements.raters."""
    raters_per_pair: int
    """Votes on a pair."""
    task: TaskConfig
    """The task as the arm has it."""
