"""Judgements as columns, and how a crowd judges in numbers: what real and simulated people are compared by.

Shapes: V votes, P pairs, G groups (or prompts, where rows have no or one group only).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sandwiching.tasks.columns import PairKey, first_votes, pair_id, pair_key
from sandwiching.tasks.habits import boldness, doublings
from sandwiching.tasks.records import Judgement, Pair, Prompt

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Votes:
    """Verdicts on pairs; `one` and `other` are a pair's responses in alphabetical order.

    outcome_V: 1 for `one`, -1 for `other`, 0 a tie. side_V: 1 where `one` was shown first (as response_a), else -1.
    pair_V, rater_V: indexes. Of each pair: group_P (index), doublings_P (log2 of words of one / other), bolder_P,
    truth_P (1, -1 or 0 where not known), pairs (as they were first shown). raters, groups: names.
    """

    outcome_V: Array
    side_V: Array
    pair_V: Array
    rater_V: Array
    group_P: Array
    doublings_P: Array
    bolder_P: Array
    truth_P: Array
    pairs: tuple[Pair, ...]
    raters: tuple[str, ...]
    groups: tuple[str, ...]

    @property
    def votes(self) -> int:
        """V."""
        return len(self.outcome_V)

    def with_outcomes(self, outcome_V: Array) -> Votes:
        """Other verdicts by the same raters on the same pairs."""
        return replace(self, outcome_V=outcome_V)


def votes_of(judgements: Sequence[Judgement], truth: Mapping[tuple[str, str, str], int]) -> Votes:
    """Columns of judgements; equal responses are left out, and of a rater's judgements of one pair all but the first.
    truth: as in file_people.py.

    Raises ValueError when nothing is left.
    """
    pairs: dict[PairKey, int] = {}
    texts: Counter[tuple[str, str, str]] = Counter()
    shown: list[Pair] = []
    raters: dict[str, int] = {}
    rows = []
    for judgement in first_votes(judgements):
        key = pair_key(judgement)
        name, one, other, _ = key
        if one == other:
            continue
        place = pairs.setdefault(key, len(pairs))
        if place == len(shown):
            prompt = Prompt(name, judgement.prompt, str(judgement.group or name), "judgements")
            again = f"/{texts[key[:3]]}" if texts[key[:3]] else ""
            shown.append(Pair(pair_id(name, one, other) + again, prompt, judgement.response_a, judgement.response_b))
            texts[key[:3]] += 1
        side = 1 if judgement.response_a == one else -1
        outcome = {"a": side, "b": -side, "tie": 0}[judgement.preference]
        rows.append((outcome, side, place, raters.setdefault(judgement.rater, len(raters))))
    if not rows:
        raise ValueError("there is no judgement of two different responses")
    names = [pair.prompt.group for pair in shown]
    if len(set(names)) == 1:
        names = [pair.prompt.id for pair in shown]
    groups = {name: place for place, name in enumerate(dict.fromkeys(names))}
    columns = np.array(rows).T
    return Votes(
        *columns,
        group_P=np.array([groups[name] for name in names]),
        doublings_P=np.array([doublings(one, other) for _, one, other, _ in pairs]),
        bolder_P=np.array([boldness(one) - boldness(other) for _, one, other, _ in pairs]),
        truth_P=np.array([truth.get(key[:3], 0) for key in pairs]),
        pairs=tuple(shown),
        raters=tuple(raters),
        groups=tuple(groups),
    )


@dataclass(frozen=True, slots=True)
class Statistic:
    """A ratio of sums, and its limits over groups (delete-one-group jackknife); NaN where nothing was counted."""

    estimate: float
    low: float
    high: float
    counted: int


def habits_table(votes: Votes, critical: float) -> dict[str, Statistic]:
    """How a crowd judges. critical: the t value of the intervals, with groups - 1 degrees of freedom."""
    return {name: ratio(*sums, critical) for name, sums in habit_sums(votes).items()}


def habit_sums(votes: Votes) -> dict[str, tuple[Array, Array]]:
    """Numerators and denominators [G] of each statistic."""
    outcome_V, group_V = votes.outcome_V, votes.group_P[votes.pair_V]
    untied_V = outcome_V != 0
    longer_V, bolder_V = (np.sign(column)[votes.pair_V] for column in (votes.doublings_P, votes.bolder_P))
    truth_V = votes.truth_P[votes.pair_V]
    others_V = majority_of_others(votes)

    def share(hit_V: Array, of_V: Array) -> tuple[Array, Array]:
        count = len(votes.groups)
        return np.bincount(group_V[of_V & hit_V], minlength=count), np.bincount(group_V[of_V], minlength=count)

    return {
        "ties": share(~untied_V, np.ones_like(untied_V)),
        "takes the first": share(outcome_V == votes.side_V, untied_V),
        "takes the longer": share(outcome_V == longer_V, untied_V & (longer_V != 0)),
        "takes the bolder": share(outcome_V == bolder_V, untied_V & (bolder_V != 0)),
        "two raters agree": _agreeing_pairs(votes),
        "agrees with the majority of the others": share(outcome_V == others_V, untied_V & (others_V != 0)),
        "variance of that between raters": rater_covariance(votes, others_V),
        "agrees with the truth": share(outcome_V == truth_V, untied_V & (truth_V != 0)),
    }


def majority_of_others(votes: Votes) -> Array:
    """For each vote, what most other votes on the pair say: 1, -1, or 0 where they are split or there are none [V]."""
    sums_P = np.bincount(votes.pair_V, weights=votes.outcome_V, minlength=len(votes.group_P))
    return np.sign(sums_P[votes.pair_V] - votes.outcome_V).astype(int)


def _agreeing_pairs(votes: Votes) -> tuple[Array, Array]:
    """Two votes on one pair that are equal, of all two; a pair counts by its votes [G]."""
    pairs = len(votes.group_P)
    counts_3P = np.stack([np.bincount(votes.pair_V[votes.outcome_V == one], minlength=pairs) for one in (-1, 0, 1)])
    total_P = counts_3P.sum(axis=0) * (counts_3P.sum(axis=0) > 1)
    return tuple(  # pyright: ignore[reportReturnType]
        np.bincount(votes.group_P, weights=column_P, minlength=len(votes.groups))
        for column_P in ((counts_3P * (counts_3P - 1)).sum(axis=0) / np.maximum(total_P - 1, 1), total_P)
    )


def rater_covariance(votes: Votes, others_V: Array) -> tuple[Array, Array]:
    """Sums [G] whose ratio is the variance between raters, within a group, of how often they agree with the others.

    It is the covariance of two votes of one rater (so that the luck of single votes adds nothing), about the group's
    mean; a rater counts by the votes.
    """
    counted_V = (votes.outcome_V != 0) & (others_V != 0)
    group_V = votes.group_P[votes.pair_V][counted_V]
    agrees_V = (votes.outcome_V == others_V)[counted_V].astype(float)
    size = len(votes.groups)
    count_G = np.bincount(group_V, minlength=size)
    mean_G = np.bincount(group_V, weights=agrees_V, minlength=size) / np.maximum(count_G, 1)
    centred_V = agrees_V - mean_G[group_V]
    cell_V = group_V * len(votes.raters) + votes.rater_V[counted_V]
    cells, index_V = np.unique(cell_V, return_inverse=True)
    sum_C, square_C = (np.bincount(index_V, weights=column) for column in (centred_V, centred_V**2))
    count_C = np.bincount(index_V)
    group_C = cells // len(votes.raters)
    products = ((sum_C**2 - square_C) / np.maximum(count_C - 1, 1), np.where(count_C > 1, count_C, 0))
    return tuple(np.bincount(group_C, weights=column, minlength=size) for column in products)  # pyright: ignore[reportReturnType]


def ratio(numerator_G: Array, denominator_G: Array, critical: float) -> Statistic:
    """The ratio of two sums over groups, with jackknife limits."""
    whole, kept = denominator_G.sum(), denominator_G > 0
    if not whole:
        return Statistic(np.nan, np.nan, np.nan, 0)
    estimate = float(numerator_G.sum() / whole)
    top_G, bottom_G = numerator_G[kept], denominator_G[kept]
    groups = int(kept.sum())
    if groups < 2:
        return Statistic(estimate, -np.inf, np.inf, int(whole))
    without_G = (top_G.sum() - top_G) / (bottom_G.sum() - bottom_G)
    error = float(np.sqrt((groups - 1) / groups * ((without_G - without_G.mean()) ** 2).sum()))
    return Statistic(estimate, estimate - critical * error, estimate + critical * error, int(whole))
