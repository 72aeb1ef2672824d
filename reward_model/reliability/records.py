"""What every reliability model returns. Shape suffixes: P pairs, K raters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sandwiching.reward_model.reliability.votes import Bools, Floats, Ints, sigmoid

NORMAL_95 = 1.959963984540054
"""Half width of a 95 % interval in standard errors."""
TRUSTED = 5.0
"""Effective votes from which on a rater's skill is said to be known at all."""


@dataclass(frozen=True, slots=True)
class Reliability:
    """Labels of pairs and skills of raters, learned from votes alone.

    soft_P: P(the first text is the better one), a tie counting half. skill_K: probability that the rater says what is
    right when deciding; .5 is a coin, below it an adversary; low_K..high_K: 95 % interval. effective_K: votes with a
    known truth that would tell as much of the rater. mean, spread: of the raters' true skills, as the model sees them.
    """

    soft_P: Floats
    skill_K: Floats
    low_K: Floats
    high_K: Floats
    effective_K: Floats
    mean: float
    spread: float

    @property
    def verdict_P(self) -> Floats:
        """+1 the first text, -1 the second, 0 level [P]; what differs from level by rounding is level."""
        lean_P = self.soft_P - 0.5
        return np.where(np.abs(lean_P) < 1e-9, 0.0, np.sign(lean_P))

    @property
    def trusted_K(self) -> Bools:
        """Raters of whom enough is known: without others on the same pairs nothing is."""
        return self.effective_K >= TRUSTED

    @property
    def adversary_K(self) -> Bools:
        """Trusted raters whose whole interval is below chance."""
        return self.trusted_K & (self.high_K < 0.5)


def wilson_interval(right_K: Floats | Ints, count_K: Floats | Ints) -> tuple[Floats, Floats]:
    """95 % limits of shares right / count [K] (Wilson, JASA 1927), which hold for few and for all right; 0 and 1 for
    none."""
    square = NORMAL_95**2
    share_K = np.where(count_K > 0, right_K / np.maximum(count_K, 1), 0.5)
    center_K = (right_K + square / 2) / (count_K + square)
    half_K = NORMAL_95 / (count_K + square) * np.sqrt(count_K * share_K * (1 - share_K) + square / 4)
    return np.maximum(center_K - half_K, 0.0), np.minimum(center_K + half_K, 1.0)


def logit_interval(center_K: Floats, information_K: Floats) -> tuple[Floats, Floats]:
    """95 % limits of probabilities [K] from their logits and the observed information about those."""
    half_K = NORMAL_95 / np.sqrt(information_K)
    return sigmoid(center_K - half_K), sigmoid(center_K + half_K)
