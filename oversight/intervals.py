"""Intervals for means over held-out items that come in groups, answered by policies of several training seeds.

The unit is the group crossed with the training seed. A group's items share what makes them hard, and a training run
shares its luck over all items, so neither counts as many observations. Shapes: S seeds, N items.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from sandwiching.oversight.spread import Array, spread
from sandwiching.reward_model.reliability.student_t import t_critical

HEADLINE_SEEDS = 5
ROUNDING = 1e-9
"""So near an end a share is taken to be that end."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its confidence limits; infinite limits where fewer than two groups leave the spread unknown."""

    estimate: float
    low: float
    high: float
    df: float
    items: int
    groups: int
    seeds: int

    @property
    def covers(self) -> str:
        """What another draw of which the interval allows for."""
        if self.seeds == 1:
            return "covers prompts, not training runs"
        if self.seeds < HEADLINE_SEEDS:
            return f"covers prompts and training runs, roughly: {self.seeds} seeds are few"
        return "covers prompts and training runs"


@dataclass(frozen=True, slots=True)
class RatioSet:
    """The values of a ratio that the data do not reject (Fieller).

    bounded: low..high. complement: everything outside low..high. unbounded: everything.
    """

    estimate: float
    kind: Literal["bounded", "complement", "unbounded"]
    low: float
    high: float

    def __contains__(self, ratio: float) -> bool:
        if self.kind == "unbounded":
            return True
        inside = self.low <= ratio <= self.high
        return inside if self.kind == "bounded" else not self.low < ratio < self.high


def mean_interval(
    values_SN: Array, groups: Sequence[str], confidence: float = 0.95, leverage_N: Array | None = None
) -> Interval:
    """Interval of the mean over items (of levels, or of paired differences) for new groups and, with several rows,
    new training seeds; see Spread, also for leverage_N."""
    if len(set(groups)) < 2:
        return Interval(
            float(values_SN.mean()), -math.inf, math.inf, 0.0, len(groups), len(set(groups)), len(values_SN)
        )
    found = spread(values_SN[:, :, None], groups, leverage_N)
    estimate, df = float(found.mean_K[0]), found.df(np.ones(1))
    half = t_critical(confidence, df) * math.sqrt(found.covariance()[0, 0])
    return Interval(estimate, estimate - half, estimate + half, df, found.items, found.groups, found.seeds)


def share_interval(
    values_SN: Array, groups: Sequence[str], confidence: float = 0.95, leverage_N: Array | None = None
) -> Interval:
    """As mean_interval, of a mean that lies between 0 and 1: limits are found on log-odds and stay inside.

    The half-width on log-odds is that of the mean over p (1 - p) (delta method), so that limits near an end are as
    lopsided as the data. Where all values are one end's no spread is seen: the other limit is that of a binomial with
    as many trials as equal groups would weigh the same (Clopper and Pearson 1934).
    """
    mean = mean_interval(values_SN, groups, confidence, leverage_N)
    if mean.groups < 2:
        return mean
    if not ROUNDING < mean.estimate < 1 - ROUNDING:
        far = 1 - ((1 - confidence) / 2) ** (1 / spread(values_SN[:, :, None], groups, leverage_N).effective)
        return replace(mean, low=0.0, high=far) if mean.estimate < 0.5 else replace(mean, low=1 - far, high=1.0)
    half = (mean.high - mean.estimate) / (mean.estimate * (1 - mean.estimate))
    odds = math.log(mean.estimate / (1 - mean.estimate))
    low, high = (1 / (1 + math.exp(-max(min(odds + side * half, 700), -700))) for side in (-1, 1))
    return replace(mean, low=low, high=high)


def function_interval(
    function: Callable[[Array], float],
    values_SNK: Array,
    groups: Sequence[str],
    confidence: float = 0.95,
    leverage_N: Array | None = None,
) -> Interval:
    """Interval of a smooth function of K means over items, linearised at the means (delta method).

    Each value counts by its influence on the function, f(mean) + gradient . (value - mean), so that the interval is
    that of a mean: see mean_interval. leverage_N: what each item weighs in the function, where not all weigh the same.
    """
    mean_K = values_SNK.mean((0, 1))
    estimate = float(function(mean_K))
    linear_SN = estimate + (values_SNK - mean_K) @ _gradient(function, mean_K)
    return mean_interval(linear_SN, groups, confidence, leverage_N)


STEP = 1e-6
"""Of central differences, for means of the order of 1."""


def _gradient(function: Callable[[Array], float], mean_K: Array) -> Array:
    steps_KK = STEP * np.eye(len(mean_K))
    return np.array([(function(mean_K + step_K) - function(mean_K - step_K)) / (2 * STEP) for step_K in steps_KK])


def ratio_set(numerator_SN: Array, denominator_SN: Array, groups: Sequence[str], confidence: float = 0.95) -> RatioSet:
    """Fieller set of mean(numerator) / mean(denominator), both paired by item and seed.

    Degrees of freedom: the fewest among numerator, denominator and their difference at the estimated ratio.
    """
    if len(set(groups)) < 2:
        return RatioSet(
            float(numerator_SN.mean()) / float(denominator_SN.mean() or math.nan), "unbounded", -math.inf, math.inf
        )
    found = spread(np.stack([numerator_SN, denominator_SN], axis=2), groups)
    top, bottom = map(float, found.mean_K)
    directions = [np.array([1.0, 0.0]), np.array([0.0, 1.0]), np.array([bottom, -top])]
    df = min(found.df(direction) for direction in directions)
    return fieller(top, bottom, found.covariance(), t_critical(confidence, df))


def fieller(numerator: float, denominator: float, covariance: Array, critical: float) -> RatioSet:
    """{r : (numerator - r denominator)^2 <= critical^2 Var(numerator - r denominator)} (Fieller 1954).

    covariance [2, 2] of (numerator, denominator). Bounded exactly when the denominator differs from zero at that level.
    """
    square = critical**2
    a = denominator**2 - square * float(covariance[1, 1])
    b = numerator * denominator - square * float(covariance[0, 1])
    c = numerator**2 - square * float(covariance[0, 0])
    estimate = numerator / denominator if denominator else math.nan
    discriminant = b * b - a * c
    if a > 0:
        root = math.sqrt(max(discriminant, 0.0))
        return RatioSet(estimate, "bounded", (b - root) / a, (b + root) / a)
    if a < 0 and discriminant > 0:
        root = math.sqrt(discriminant)
        return RatioSet(estimate, "complement", (b + root) / a, (b - root) / a)
    if a == 0 and b != 0:
        edge = c / (2 * b)
        return RatioSet(estimate, "complement", *((-math.inf, edge) if b > 0 else (edge, math.inf)))
    return RatioSet(estimate, "unbounded", -math.inf, math.inf)
