"""Performance gap recovered, PGR = (arm - rater line) / (ceiling - rater line), of labels, reward models and policies.

Burns et al., arXiv 2312.09390, with the raters' own accuracy as the weak end. Never clipped; undefined where the data
do not tell the ceiling from the raters (Fieller). Shapes: S seeds, N items or pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sandwiching.oversight.intervals import Interval, RatioSet, mean_interval, ratio_set, share_interval
from sandwiching.oversight.outcomes import policy_name
from sandwiching.oversight.spread import Array

LABEL, REWARD, POLICY = "label", "reward model", "policy"


@dataclass(frozen=True, slots=True)
class Recovered:
    """A PGR with what it is made of: numerator = arm - rater line, denominator = ceiling - rater line."""

    ratio: RatioSet
    numerator: Interval
    denominator: Interval


@dataclass(frozen=True, slots=True)
class Stage:
    """Accuracy of what one stage made: the rater line, the ceiling, each arm, and each arm's PGR.

    missing: why an arm has no PGR.
    """

    line: Interval
    accuracy: dict[str, Interval]
    recovered: dict[str, Recovered]
    missing: dict[str, str]


def gap_recovered(
    arm_SN: Array, ceiling_SN: Array, line_SN: Array, groups: Sequence[str], confidence: float
) -> Recovered:
    """All on the same items; rows are seeds, and one row stands for all seeds."""
    above_SN, gap_SN = np.broadcast_arrays(arm_SN - line_SN, ceiling_SN - line_SN)
    return Recovered(
        ratio_set(above_SN, gap_SN, groups, confidence),
        mean_interval(above_SN, groups, confidence),
        mean_interval(gap_SN, groups, confidence),
    )


def stage(
    arms: Mapping[str, Array], line_N: Array, ceiling: str | None, groups: Sequence[str], confidence: float
) -> Stage:
    """arms: outcomes [S, N], or [1, N] where seeds have them in common, by name; `ceiling` is one of them."""
    found: dict[str, Recovered] = {}
    missing: dict[str, str] = {}
    for name, arm_SN in arms.items():
        if name == ceiling:
            continue
        if ceiling is None or ceiling not in arms:
            missing[name] = no_ceiling(ceiling)
        else:
            found[name] = gap_recovered(arm_SN, arms[ceiling], line_N[None], groups, confidence)
    return Stage(
        line=share_interval(line_N[None], groups, confidence),
        accuracy={name: share_interval(arm_SN, groups, confidence) for name, arm_SN in arms.items()},
        recovered=found,
        missing=missing,
    )


def no_ceiling(ceiling: str | None) -> str:
    """Why there is no PGR."""
    name = ceiling or "ceiling"
    return f"PGR needs a ceiling, and there is no arm {name} here: add `{name}: {{tier: expert}}` to arms"


def stages(record: Mapping[str, Any], confidence: float) -> dict[str, Stage]:
    """Labels and reward models of the record of a check, on its gold pairs; the policies' PGR is in the summary.

    The rater line of both is one weak vote. Labels are the majority of as many votes as the arm's training has a pair.
    """
    labels, arms, seeds = record["labels"], record["arms"], record["seeds"]
    line_N = np.array(labels["line"])
    given = {arm: np.array([labels["arms"][arm]]) for arm in arms if arm in labels["arms"]}
    rewards = {
        arm: np.array([record["rewards"][policy_name(arm, seed)]["pairs"] for seed in seeds], dtype=float)
        for arm in arms
    }
    found = {
        LABEL: stage(given, line_N, record["ceiling"], labels["groups"], confidence),
        REWARD: stage(rewards, line_N, record["ceiling"], labels["groups"], confidence),
    }
    found[LABEL].missing.update(labels["missing"])
    return found
