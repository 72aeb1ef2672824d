"""The best of k by an expert result looks better than it is: the selection step, bootstrapped.

Groups are drawn with replacement; the best candidate on those drawn is judged by those that were not drawn, which had
no say in the choice (Efron 1983; Efron and Tibshirani 1997). What the winner has on all groups, less that mean, is its
optimism. Shapes: K candidates, S training seeds, N items, G groups, B resamples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sandwiching.oversight.intervals import Interval, mean_interval
from sandwiching.oversight.spread import Array

RESAMPLES = 2000

WEIGHT = 0.632
"""Part of the optimism by which the interval moves: a resample chooses on 63 % of the groups, so worse than all of them
do, the more the candidates differ (Efron 1983). benchmarks/selection.py measures what it covers."""


@dataclass(frozen=True, slots=True)
class Selected:
    """The best of `candidates`: its place, what it shows and what it is worth once the choice is taken into account.

    corrected: estimate - optimism; low and high: the winner's own interval, moved by WEIGHT of the optimism. nats: most
    that the choice can have been worth, log k - (k - 1) / k (Gao et al., arXiv 2210.10760; an upper bound, Beirami et
    al., arXiv 2401.01879).
    """

    best: int
    candidates: int
    shown: Interval
    optimism: float
    low: float
    high: float
    nats: float

    @property
    def corrected(self) -> float:
        """What it is worth."""
        return self.shown.estimate - self.optimism

    @property
    def sentence(self) -> str:
        """For the terminal."""
        return (
            f"Best of {self.candidates} by an expert result: it shows {self.shown.estimate:.3f}; with the selection "
            f"step bootstrapped {self.corrected:.3f} [{self.low:.3f}, {self.high:.3f}] (optimism {self.optimism:+.3f}; "
            f"the choice is worth at most {self.nats:.2f} nats)."
        )


def selection_nats(candidates: int) -> float:
    """log k - (k - 1) / k."""
    return math.log(candidates) - (candidates - 1) / candidates


def select(
    values_KSN: Array, groups: Sequence[str], *, largest: bool = True, confidence: float = 0.95, seed: int = 0
) -> Selected:
    """All candidates answer the same items. largest: whether more is better.

    Raises ValueError with fewer than two groups: nothing is left to judge a choice by.
    """
    sign = 1.0 if largest else -1.0
    means_KN = values_KSN.mean(axis=1)
    best = int(np.argmax(sign * means_KN.mean(axis=1)))
    shown = mean_interval(values_KSN[best], groups, confidence)
    optimism = shown.estimate - out_of_bag(means_KN, groups, sign, np.random.default_rng(seed))
    return Selected(
        best=best,
        candidates=len(values_KSN),
        shown=shown,
        optimism=optimism,
        low=shown.low - WEIGHT * optimism,
        high=shown.high - WEIGHT * optimism,
        nats=selection_nats(len(values_KSN)),
    )


def out_of_bag(means_KN: Array, groups: Sequence[str], sign: float, rng: np.random.Generator) -> float:
    """What the best on drawn groups has on the others: mean over resamples, each item's share as large."""
    names = sorted(set(groups))
    if len(names) < 2:
        raise ValueError(f"a choice by experts' results needs items of two groups or more; there is {len(names)}")
    member_GN = np.array([[group == name for group in groups] for name in names], dtype=float)
    sums_KG, sizes_G = means_KN @ member_GN.T, member_GN.sum(axis=1)
    drawn_BG = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES).astype(float)
    drawn_BG = drawn_BG[(drawn_BG == 0).any(axis=1)]
    chosen_B = np.argmax(sign * (drawn_BG @ sums_KG.T) / (drawn_BG @ sizes_G)[:, None], axis=1)
    left_BG = (drawn_BG == 0).astype(float)
    others_BK = (left_BG @ sums_KG.T) / (left_BG @ sizes_G)[:, None]
    return float(others_BK[np.arange(len(chosen_B)), chosen_B].mean())
