"""Gold and proxy against distance from the floor, d = sqrt(KL), in the forms of Gao et al. (arXiv 2210.10760):

    best-of-n: R(d) = d (a - b d), peak at a / 2b            RL: R(d) = d (a - b log d), peak at exp(a / b - 1)

R is the gain over the floor, so R(0) = 0. Least squares in both; a checkpoint is no observation of its own: each prompt
of each run counts once, by its influence on the whole fit, so that checkpoints may depend on each other and distances
differ between runs. Intervals as everywhere (group x training seed), the peak's from the Fieller set of a / b.
Shapes: S seeds, T checkpoints or sizes n, N items.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sandwiching.oversight.fooling import TooFewError
from sandwiching.oversight.intervals import Interval, RatioSet, mean_interval, ratio_set
from sandwiching.oversight.spread import Array

Form = Literal["rl", "best of n"]
NEAR = 1.0
"""sqrt(nats). The RL form has an infinite slope at 0: where ENOUGH checkpoints lie beyond, nearer ones are left out."""
ENOUGH = 3
FEWEST = 2


@dataclass(frozen=True, slots=True)
class Peak:
    """Where the fitted curve turns, in sqrt(nats), and the limits of that; infinite where the data do not bound it.

    reached: whether it lies within the distances seen.
    """

    distance: float
    low: float
    high: float
    reached: bool


@dataclass(frozen=True, slots=True)
class GaoFit:
    """furthest: the largest mean distance seen, in sqrt(nats); points: distances that the fit uses; peak: None where
    best-of-n's falls from the start, or the curve never turns."""

    form: Form
    a: Interval
    b: Interval
    peak: Peak | None
    furthest: float
    points: int

    @property
    def said(self) -> str:
        """The peak in words."""
        seen = f"up to {self.furthest:.2f}, the furthest seen"
        if self.form == "best of n" and self.a.estimate <= 0 < self.b.estimate:
            return "falls from the start"
        if self.peak is None or not self.peak.reached:
            return f"not reached {seen}"
        high = f"{self.peak.high:.2f}" if self.peak.high <= self.furthest else "not reached"
        return f"{self.peak.distance:.2f} [{self.peak.low:.2f}, {high}]"


def basis(distance: Array, form: Form) -> Array:
    """[..., 2]: what a and b multiply."""
    bend = distance**2 if form == "best of n" else distance * np.log(np.maximum(distance, 1e-12))
    return np.stack([distance, -bend], axis=-1)


def gao_fit(distance_ST: Array, gain_STN: Array, groups: Sequence[str], form: Form, confidence: float) -> GaoFit:
    """distance_ST in sqrt(nats), without the floor itself; gain_STN over the floor on the same items.

    Raises TooFewError for fewer distances than there are numbers to fit.
    """
    kept_T = distance_ST.mean(0) > 0
    far_T = distance_ST.mean(0) >= NEAR
    if form == "rl" and far_T.sum() >= ENOUGH:
        kept_T = far_T
    if kept_T.sum() < FEWEST:
        raise TooFewError(
            f"the curve has {kept_T.sum()} points away from the floor, and a fit takes {FEWEST}; lower "
            "ppo.snapshot_every, or raise ppo.steps (best-of-n: check.best_of)"
        )
    distance_ST, gain_STN = distance_ST[:, kept_T], gain_STN[:, kept_T]
    basis_ST2 = basis(distance_ST, form)
    inverse = np.linalg.pinv(np.einsum("sti,stj->ij", basis_ST2, basis_ST2))
    both = inverse @ np.einsum("sti,st->i", basis_ST2, gain_STN.mean(2))
    rest_STN = gain_STN - (basis_ST2 @ both)[:, :, None]
    influence_SN2 = both + len(distance_ST) * np.einsum("ij,stj,stn->sni", inverse, basis_ST2, rest_STN)
    a_SN, b_SN = influence_SN2[:, :, 0], influence_SN2[:, :, 1]
    a, b = (mean_interval(values, groups, confidence) for values in (a_SN, b_SN))
    furthest = float(distance_ST.mean(0).max())
    return GaoFit(
        form, a, b, _peak(ratio_set(a_SN, b_SN, groups, confidence), a, b, form, furthest), furthest, int(kept_T.sum())
    )


def _peak(ratio: RatioSet, a: Interval, b: Interval, form: Form, furthest: float) -> Peak | None:
    # The RL form rises from 0 whatever a is (its slope there is infinite), and turns where b > 0.
    if b.estimate <= 0 or (form == "best of n" and a.estimate <= 0):
        return None

    def place(value: float) -> float:
        return value / 2 if form == "best of n" else math.exp(min(value - 1, 700.0))

    low, high = (ratio.low, ratio.high) if ratio.kind == "bounded" else (_lowest(ratio), math.inf)
    if form == "rl" and ratio.kind != "bounded" and a.low <= 0:
        low = -math.inf
    distance = place(ratio.estimate)
    return Peak(distance, place(low), place(high) if math.isfinite(high) else math.inf, distance <= furthest)


def _lowest(ratio: RatioSet) -> float:
    """The least positive ratio of a set that holds all large ones: b is not told from 0."""
    beyond = ratio.kind == "complement" and math.isfinite(ratio.high) and ratio.low <= 0
    return max(ratio.high, 0.0) if beyond else 0.0
