"""Beliefs about scores of texts from pairs of them, by expectation propagation with a normal a text.

For comparisons this is TrueSkill's message passing (Herbrich, Minka and Graepel, 2007), with what is known of a pair's
difference given on a grid of it. Where no text is in two pairs it is exact.

Shapes: P pairs, T texts, G grid points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sandwiching.reward_model.reliability.votes import Floats, Votes, totals

FARTHEST = 10.0
"""Largest difference on the grid; losing has a chance of 5e-5 there."""
_UNIT = np.linspace(-1, 1, 41)
GRID: Floats = FARTHEST * np.sinh(2.5 * _UNIT) / np.sinh(2.5)
"""Differences of scores [G], close together about 0."""
LOG_WIDTH: Floats = np.log(np.gradient(GRID))
DAMPING = 0.5
LEAST_PRECISION = 1e-8


@dataclass(frozen=True, slots=True)
class Messages:
    """What each pair says of its first and its second text: precision and precision times mean, each [2, P]."""

    precision_2P: Floats
    weighted_2P: Floats


def silent(pairs: int) -> Messages:
    """Messages of pairs that say nothing yet."""
    return Messages(np.zeros((2, pairs)), np.zeros((2, pairs)))


def beliefs(messages: Messages, votes: Votes, deviation: float) -> tuple[Floats, Floats]:
    """Mean and variance of each text's score [T]; beforehand normal about 0 with `deviation`."""
    ends = np.concatenate([votes.first_P, votes.second_P])
    precision_T = deviation**-2 + totals(ends, messages.precision_2P.ravel(), votes.texts)
    return totals(ends, messages.weighted_2P.ravel(), votes.texts) / precision_T, 1 / precision_T


@dataclass(frozen=True, slots=True)
class Cavity:
    """Beliefs about each pair's texts without what the pair itself said: mean and variance [2, P]."""

    mean_2P: Floats
    variance_2P: Floats

    @property
    def difference(self) -> tuple[Floats, Floats]:
        """Mean and variance of first minus second [P]."""
        return self.mean_2P[0] - self.mean_2P[1], self.variance_2P.sum(0)


def cavity(messages: Messages, votes: Votes, deviation: float) -> Cavity:
    """What the other pairs say."""
    mean_T, variance_T = beliefs(messages, votes, deviation)
    ends_2P = np.stack([votes.first_P, votes.second_P])
    precision_2P = np.maximum(1 / variance_T[ends_2P] - messages.precision_2P, LEAST_PRECISION)
    mean_2P = ((mean_T / variance_T)[ends_2P] - messages.weighted_2P) / precision_2P
    return Cavity(mean_2P, 1 / precision_2P)


def posterior(mean_P: Floats, variance_P: Floats, log_likelihood_PG: Floats) -> Floats:
    """Of differences that are normal beforehand, given the log-likelihood of the pair's votes at each [P, G]."""
    log_PG = log_likelihood_PG + LOG_WIDTH - (GRID - mean_P[:, None]) ** 2 / (2 * variance_P[:, None])
    weight_PG = np.exp(log_PG - log_PG.max(1, keepdims=True))
    return weight_PG / weight_PG.sum(1, keepdims=True)


def passed_on(messages: Messages, before: Cavity, mean_P: Floats, square_P: Floats) -> Messages:
    """Messages after the pairs' differences turned out to have this mean and mean square; damped.

    A pair whose votes make its difference less certain (raters who may be adversaries) says nothing of its variance.
    """
    expected_P, variance_P = before.difference
    spread_P = np.maximum(square_P - mean_P**2, 1e-6)
    site_P = np.maximum(1 / spread_P - 1 / variance_P, LEAST_PRECISION)
    middle_P = (mean_P / spread_P - expected_P / variance_P) / site_P
    precision_2P = 1 / (1 / site_P + before.variance_2P[::-1])
    weighted_2P = precision_2P * (np.stack([middle_P, -middle_P]) + before.mean_2P[::-1])
    return Messages(
        (1 - DAMPING) * messages.precision_2P + DAMPING * precision_2P,
        (1 - DAMPING) * messages.weighted_2P + DAMPING * weighted_2P,
    )
