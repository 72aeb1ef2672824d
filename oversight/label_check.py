"""Do the labels and skills that were learned without experts stand up to experts on the same pairs?

Where either side is a tie a comparison counts half: a model that decides more pairs than the majority neither gains nor
loses by that alone. Shapes: P pairs, K raters, E votes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from sandwiching.oversight.intervals import Interval, mean_interval, share_interval
from sandwiching.reward_model.reliability.records import Reliability
from sandwiching.reward_model.reliability.votes import Bools, Floats, Ints, Votes

QUARTILES = 4
BASELINE = "majority"


@dataclass(frozen=True, slots=True)
class Quartile:
    """Raters of like skill, the lowest first: `accuracy` of their votes against the experts, a tie counting half, and
    `decided` without ties; None where the quartile has no such vote."""

    raters: int
    skill_low: float
    skill_high: float
    votes: int
    accuracy: Interval | None
    decided: float | None


@dataclass(frozen=True, slots=True)
class LabelCheck:
    """One model's labels: agreement with the experts on all pairs (a tie of either counts half) and on those that the
    experts decide; gain: agreement minus the majority's on the same pairs; quartiles of raters by learned skill."""

    agreement: Interval
    decided: Interval
    gain: Interval
    gain_decided: Interval
    quartiles: tuple[Quartile, ...]


def check_labels(
    weak: Votes, expert: Votes, group_P: tuple[str, ...], models: Mapping[str, Reliability], confidence: float
) -> dict[str, LabelCheck] | None:
    """By model; pairs have the same codes in both tiers. None where no pair was judged by both."""
    total_P = expert.by_pair(expert.sign_E)
    expert_P = np.sign(total_P)
    both_P = (expert.by_pair(np.ones(len(expert))) > 0) & (weak.by_pair(np.ones(len(weak))) > 0)
    if not both_P.any():
        return None
    groups = np.array(group_P)
    decided_P = both_P & (expert_P != 0)
    right = {name: (1 + model.verdict_P * expert_P) / 2 for name, model in models.items()}

    def interval(values_P: Floats, kept_P: Bools, kind: Callable[..., Interval] = share_interval) -> Interval:
        if not kept_P.any():
            return Interval(np.nan, -np.inf, np.inf, 0.0, 0, 0, 1)
        return kind(values_P[None, kept_P], groups[kept_P].tolist(), confidence)

    return {
        name: LabelCheck(
            agreement=interval(values_P, both_P),
            decided=interval(values_P, decided_P),
            gain=interval(values_P - right[BASELINE], both_P, mean_interval),
            gain_decided=interval(values_P - right[BASELINE], decided_P, mean_interval),
            quartiles=_quartiles(weak, models[name].skill_K, expert_P, both_P, groups, confidence),
        )
        for name, values_P in right.items()
    }


def _quartiles(
    weak: Votes, skill_K: Floats, expert_P: Floats, both_P: Bools, groups: np.ndarray, confidence: float
) -> tuple[Quartile, ...]:
    """Equally many raters each, as nearly as may be; raters of equal skill in the order of their codes."""
    order_K = np.argsort(skill_K, kind="stable")
    place_K = np.empty(len(skill_K), dtype=np.int64)
    place_K[order_K] = np.arange(len(skill_K)) * QUARTILES // len(skill_K)
    product_E = weak.sign_E * expert_P[weak.pair_E]
    found = []
    for quartile in range(QUARTILES):
        members: Ints = np.flatnonzero(place_K == quartile)
        if not len(members):
            continue
        kept_E = (place_K[weak.rater_E] == quartile) & both_P[weak.pair_E]
        product = product_E[kept_E]
        decided = product[product != 0]
        values, own_groups = (1 + product)[None] / 2, groups[weak.pair_E[kept_E]].tolist()
        found.append(
            Quartile(
                raters=len(members),
                skill_low=float(skill_K[members].min()),
                skill_high=float(skill_K[members].max()),
                votes=len(product),
                accuracy=share_interval(values, own_groups, confidence) if len(product) else None,
                decided=float((decided > 0).mean()) if len(decided) else None,
            )
        )
    return tuple(found)
