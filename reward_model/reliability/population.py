"""The population that raters come from: what is believed of a rater before any vote, learned from all of them.

The sign of all skills is not in the votes (turn every truth and every skill around, and the votes are as likely). It
is fixed by the population's mean, kept above chance, and not by a bound on each rater, which would hide adversaries.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sandwiching.reward_model.reliability.votes import Floats

LOWEST_MEAN, HIGHEST_MEAN = 0.501, 0.99


@dataclass(frozen=True, slots=True)
class Population:
    """Skills are Beta distributed with this mean, as if each rater had been seen on `strength` pairs already."""

    mean: float
    strength: float

    def __post_init__(self) -> None:
        if not (LOWEST_MEAN <= self.mean < 1 and self.strength > 0):
            raise ValueError(f"a population needs a mean from {LOWEST_MEAN} to 1 and a strength above 0, not {self}")

    @property
    def spread(self) -> float:
        """Standard deviation of the skills."""
        return float(np.sqrt(self.mean * (1 - self.mean) / (self.strength + 1)))


START = Population(0.7, 4.0)
STRENGTHS = np.geomspace(0.5, 300.0, 24)


def learned_population(right_K: Floats, wrong_K: Floats) -> Population:
    """The mean and strength under which expected counts of right and wrong votes [K] are likeliest (beta-binomial).

    The likelihood is profiled on a grid of strengths; for each, the mean takes a few Newton steps.
    Raters without votes do not count; without any, START.
    """
    seen_K = right_K + wrong_K > 0
    right_K, wrong_K = right_K[seen_K], wrong_K[seen_K]
    if not len(right_K):
        return START
    total = float((right_K + wrong_K).sum())
    crude = float(np.clip(right_K.sum() / total, LOWEST_MEAN, HIGHEST_MEAN))
    best, population = -np.inf, START
    for strength in STRENGTHS:
        mean = _best_mean(right_K, wrong_K, float(strength), crude)
        value = _log_likelihood(right_K, wrong_K, mean, float(strength))
        if value > best:
            best, population = value, Population(mean, float(strength))
    return population


def _best_mean(right_K: Floats, wrong_K: Floats, strength: float, start: float) -> float:
    """Newton's method on the mean, with differences of the log-likelihood's values."""
    mean, step = start, 1e-3
    for _ in range(3):
        below, here, above = (_log_likelihood(right_K, wrong_K, mean + d, strength) for d in (-step, 0.0, step))
        slope, curvature = (above - below) / (2 * step), (above - 2 * here + below) / step**2
        if curvature >= 0:
            break
        mean = float(np.clip(mean - slope / curvature, LOWEST_MEAN, HIGHEST_MEAN))
    return mean


def _log_likelihood(right_K: Floats, wrong_K: Floats, mean: float, strength: float) -> float:
    """Of beta-binomial counts, without the binomial coefficients; counts may be expectations, so not whole."""
    a, b = mean * strength, (1 - mean) * strength
    count_K = right_K + wrong_K
    terms_K = log_gamma(right_K + a) + log_gamma(wrong_K + b) - log_gamma(count_K + strength)
    constant = log_gamma(np.array([strength, a, b]))
    return float(terms_K.sum() + len(count_K) * (constant[0] - constant[1] - constant[2]))


_LANCZOS = (
    676.5203681218851,
    -1259.1392167224028,
    771.3234287776531,
    -176.6150291621406,
    12.507343278686905,
    -0.13857109526572012,
    9.984369578019572e-06,
    1.5056327351493116e-07,
)


def log_gamma(x: Floats) -> Floats:
    """log Gamma(x) for x > 0 (Lanczos, 1964; g = 7, nine terms): numpy has none."""
    series = np.full_like(x, 0.99999999999980993)
    for place, coefficient in enumerate(_LANCZOS):
        series = series + coefficient / (x + place)
    shifted = x + 6.5
    return 0.5 * np.log(2 * np.pi) + (x - 0.5) * np.log(shifted) - shifted + np.log(series)
