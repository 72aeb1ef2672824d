"""Is there a gap between weak raters and experts at all? And with whom do reward models agree, experts or weak raters?

On held-out pairs that both judged: an expert, and each weak rater in turn, is held against the majority of the other
weak raters. Where experts agree with it no less than weak raters do, nothing tells them from weak raters, and no method
can be shown to close a gap. Two verdicts agree by p q + (1 - p) (1 - q), a tie counting half. Torch-free.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Protocol

import numpy as np

from sandwiching.oversight.intervals import Interval, mean_interval, share_interval
from sandwiching.oversight.spread import Array
from sandwiching.oversight.summary import level, signed, verdict

MAJORITY = "weak majority"


@dataclass(frozen=True, slots=True)
class Gap:
    """experts: agreement with the majority of all weak votes of a pair but one; weak: of the vote left out, with the
    same; gap = weak - experts. with_vote, with_majority: agreement of each arm's reward models with weak raters.

    gap is None where too few pairs have two weak votes; missing says why.
    """

    experts: Interval | None
    weak: Interval | None
    gap: Interval | None
    with_vote: dict[str, Interval]
    with_majority: dict[str, Interval]
    missing: str | None

    def sentence(self, against: str = "experts") -> str:
        """What there is to close. against: experts, or gold."""
        if self.gap is None or self.experts is None or self.weak is None:
            return f"Whether there is a gap between weak raters and {against} is not known: {self.missing}."
        beside = (
            f"{against} and the majority of weak raters agree on {level(self.experts)} of pairs, one more weak "
            f"rater and that majority on {level(self.weak)}: a gap of {signed(self.gap)}"
        )
        if self.gap.low > 0:
            return f"There is a gap between weak raters and {against}: {beside}."
        if self.gap.high < 0:
            return f"No gap is left: {beside}. Weak raters stand no nearer to their majority than {against}."
        return f"No gap is shown between weak raters and {against}: {beside}."


def weak_gap(record: Mapping[str, Any]) -> Gap:
    """Of the record of a check of reward models, with its items (reward_check.py)."""
    pairs, confidence = record["pairs"], record["confidence"]
    shared = [pair for pair in pairs if len(pair["weak_votes"]) > 1]
    groups = [pair["group"] for pair in shared]
    missing = experts = weak = gap = None
    if len(set(groups)) < 2:
        missing = (
            f"{len(shared)} held-out pairs of {len(set(groups))} groups have two weak votes, and an interval takes 2 "
            "groups"
        )
    else:
        both_2N = np.array([_beside_others(pair["weak_votes"]) for pair in shared]).T
        experts, weak = (share_interval(one_N[None], groups, confidence) for one_N in both_2N)
        gap = mean_interval((both_2N[1] - both_2N[0])[None], groups, confidence)
    voted = [place for place, pair in enumerate(pairs) if pair["weak_votes"]]
    with_vote, with_majority = {}, {}
    if voted:
        votes_N = np.array([fmean(pairs[place]["weak_votes"]) for place in voted])
        own = [pairs[place]["group"] for place in voted]
        for arm, rows in record["outcomes"].items():
            outcome_SN = np.array(rows, dtype=float)[:, voted]
            with_vote[arm] = share_interval(_agree(outcome_SN, votes_N), own, confidence)
            with_majority[arm] = share_interval(_agree(outcome_SN, _side(votes_N)), own, confidence)
    return Gap(experts, weak, gap, with_vote, with_majority, missing)


def _beside_others(votes: Sequence[float]) -> tuple[float, float]:
    """Agreement with the majority of all votes but one, mean over which: of the experts, whose verdict is 1, and of the
    vote that was left out."""
    votes_R = np.array(votes)
    others_R = _side((votes_R.sum() - votes_R) / (len(votes_R) - 1))
    return float(others_R.mean()), float(_agree(votes_R, others_R).mean())


def _side(mean: Array) -> Array:
    """1, 0 or 1/2: on which side of level a mean vote is."""
    return (np.sign(np.round(mean - 0.5, 12)) + 1) / 2


def _agree(one: Array, other: Array) -> Array:
    return one * other + (1 - one) * (1 - other)


class Agreed(Protocol):
    """An Agreement of agreement.py."""

    @property
    def accuracy(self) -> Mapping[str, Interval]:
        """By arm and baseline."""
        ...

    @property
    def over(self) -> Mapping[str, Mapping[str, Interval]]:
        """Of each arm over each baseline."""
        ...


def agreement_headline(found: Agreed, gap: Gap, against: str = "experts") -> str:
    """The gap, then each arm: does it agree with the experts more than weak raters, or length, do?"""
    lines, accuracy = [gap.sentence(against)], found.accuracy
    for arm, over in found.over.items():
        said = f"{arm}: agrees with {against} on {level(accuracy[arm])} of held-out pairs"
        parts = [
            f"{verdict(one)} {'the ' if name == MAJORITY else ''}{name} ({accuracy[name].estimate:.2f}, {signed(one)})"
            for name, one in over.items()
        ]
        lines.append(f"{said}; {', '.join(parts)}.")
    return "\n".join(lines)
