"""Votes of raters on pairs as arrays: what reliability models see. Files and text stay outside; numpy only.

Shape suffixes, here and in the folder: E votes, P pairs, K raters, T texts, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Votes:
    """Who said what of which pair.

    pair_E, rater_E int64 codes below `pairs` and `raters`; sign_E fp64: +1 the pair's first text, -1 its second, 0 a
    tie; turned_E bool: this rater saw the second text first; first_P, second_P int64: the pair's texts, codes below
    `texts`. A rater votes once on a pair.

    Example: two raters on one pair, of whom one prefers the first text: pair_E = [0, 0], rater_E = [0, 1],
    sign_E = [1, 0], turned_E = [False, False], first_P = [0], second_P = [1].
    """

    pair_E: Ints
    rater_E: Ints
    sign_E: Floats
    turned_E: Bools
    first_P: Ints
    second_P: Ints
    raters: int

    def __post_init__(self) -> None:
        lengths = {f.name: len(getattr(self, f.name)) for f in fields(self) if f.name.endswith("_E")}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"columns of votes must be equally long, are {lengths}")
        if not np.isin(self.sign_E, (-1, 0, 1)).all():
            raise ValueError("sign_E must be -1, 0 or 1")
        for codes, limit, name in ((self.pair_E, self.pairs, "pair_E"), (self.rater_E, self.raters, "rater_E")):
            if len(codes) and not 0 <= codes.min() <= codes.max() < limit:
                raise ValueError(f"{name} must be codes from 0 to {limit - 1}")
        if len(np.unique(self.pair_E * self.raters + self.rater_E)) < len(self):
            raise ValueError("a rater votes once on a pair; leave repeated votes out")

    def __len__(self) -> int:
        return len(self.sign_E)

    @property
    def pairs(self) -> int:
        """Number of pairs."""
        return len(self.first_P)

    @property
    def texts(self) -> int:
        """Number of texts."""
        return int(max(self.first_P.max(), self.second_P.max())) + 1 if self.pairs else 0

    def select(self, kept_E: Bools) -> Votes:
        """The votes at `kept_E`; pairs and raters keep their codes."""
        return self._take(kept_E)

    def sorted_by_pair(self) -> Votes:
        """The same votes, those of a pair beside each other."""
        return self._take(np.argsort(self.pair_E, kind="stable"))

    def _take(self, index: Bools | Ints) -> Votes:
        return replace(
            self,
            pair_E=self.pair_E[index],
            rater_E=self.rater_E[index],
            sign_E=self.sign_E[index],
            turned_E=self.turned_E[index],
        )

    def by_pair(self, value_E: Floats | Bools) -> Floats:
        """Sum of a value over the votes of each pair [P]."""
        return totals(self.pair_E, value_E, self.pairs)

    def by_rater(self, value_E: Floats | Bools) -> Floats:
        """Sum of a value over the votes of each rater [K]."""
        return totals(self.rater_E, value_E, self.raters)


def totals(code_N: Ints, value_N: Floats | Bools, codes: int) -> Floats:
    """Sum of the values of each code below `codes`."""
    return np.bincount(code_N, weights=value_N, minlength=codes).astype(np.float64)


def sigmoid(logit: Floats) -> Floats:
    """1 / (1 + exp(-x)) without overflow."""
    return np.exp(-np.logaddexp(0.0, -logit))


def logit(probability: Floats) -> Floats:
    """log(p / (1 - p))."""
    return np.log(probability) - np.log1p(-probability)
