"""Is a reward model as sure as it is right? On held-out judgements, so of weak raters: against them, not the truth.

Shapes: E judgements. Ties are outcomes of 1/2: half right whatever was preferred.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BINS = 10
LEAST_IN_BIN = 10
HOTTEST = 100.0
"""Temperatures are fitted between its inverse and itself; a model that is no better than a coin is at the upper end."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Judgements of like confidence: mean confidence, share right, number."""

    confidence: float
    accuracy: float
    judgements: int


@dataclass(frozen=True, slots=True)
class Scores:
    """Expected calibration error over bins of equal mass, Brier score, mean negative log-likelihood (nats); and the
    bins."""

    ece: float
    brier: float
    nll: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class Calibration:
    """raw: probabilities sigmoid(score difference). scaled: the same of the difference over a temperature that was
    fitted on the other half of the prompts. temperature: fitted on all."""

    judgements: int
    temperature: float
    raw: Scores
    scaled: Scores


def calibration(delta_E: Floats, target_E: Floats, prompt_E: NDArray[np.int64]) -> Calibration | None:
    """delta_E: score of a minus score of b; target_E: 1, 1/2 or 0 for a; prompt_E: codes. None without judgements."""
    if not len(delta_E):
        return None
    _, place_E = np.unique(prompt_E, return_inverse=True)
    first_E = place_E % 2 == 0
    scaled_E = delta_E / fit_temperature(delta_E, target_E)
    if first_E.any() and not first_E.all():
        for half_E in (first_E, ~first_E):
            scaled_E[half_E] = delta_E[half_E] / fit_temperature(delta_E[~half_E], target_E[~half_E])
    return Calibration(
        judgements=len(delta_E),
        temperature=fit_temperature(delta_E, target_E),
        raw=proper_scores(delta_E, target_E),
        scaled=proper_scores(scaled_E, target_E),
    )


def fit_temperature(delta_E: Floats, target_E: Floats) -> float:
    """The T that minimises the negative log-likelihood of sigmoid(delta / T) (Guo et al., arXiv 1706.04599).

    Convex in 1/T: bisection on the sign of the slope.
    """
    low, high = -math.log(HOTTEST), math.log(HOTTEST)
    for _ in range(60):
        middle = (low + high) / 2
        slope = float(((_probability(delta_E * math.exp(middle)) - target_E) * delta_E).sum())
        low, high = (middle, high) if slope < 0 else (low, middle)
    return math.exp(-(low + high) / 2)


def proper_scores(delta_E: Floats, target_E: Floats) -> Scores:
    """Of probabilities sigmoid(delta)."""
    probability_E = _probability(delta_E)
    confidence_E = np.maximum(probability_E, 1 - probability_E)
    right_E = 1 - np.abs(target_E - (np.sign(delta_E) + 1) / 2)
    nll = float((np.logaddexp(0, delta_E) - target_E * delta_E).mean())
    brier = float(((probability_E - target_E) ** 2).mean())
    bins = _bins(confidence_E, right_E)
    ece = sum(one.judgements * abs(one.accuracy - one.confidence) for one in bins) / len(delta_E)
    return Scores(ece, brier, nll, bins)


def _bins(confidence_E: Floats, right_E: Floats) -> tuple[Bin, ...]:
    """Equally many judgements a bin, the least confident first; few judgements have fewer bins."""
    order_E = np.argsort(confidence_E, kind="stable")
    parts = np.array_split(order_E, max(1, min(BINS, len(order_E) // LEAST_IN_BIN)))
    return tuple(Bin(float(confidence_E[part].mean()), float(right_E[part].mean()), len(part)) for part in parts)


def _probability(delta_E: Floats) -> Floats:
    return np.exp(-np.logaddexp(0.0, -delta_E))
