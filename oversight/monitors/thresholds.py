"""Thresholds that keep a declared rate of false alarms on samples like those that they were calibrated on.

The k-th smallest of n calibration values, k = ceil((n + 1)(1 - rate)), is exceeded by one more exchangeable value with
probability at most rate (split conformal; Vovk et al. 2005). Shapes: T points of a run, the SFT policy first; N items;
J samples of an item.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sandwiching.configs.monitor_block import fewest_samples
from sandwiching.oversight.monitors.auroc import Mask, UndefinedError
from sandwiching.oversight.spread import Array


def threshold(values_M: Array, rate: float) -> float:
    """The value above which a sample is flagged.

    Raises ValueError for fewer samples than the rate takes, UndefinedError when a value is not a number.
    """
    count = len(values_M)
    unknown = int(np.isnan(values_M).sum())
    if unknown:
        raise UndefinedError(f"not calibrated: {unknown} of {count} values of the SFT policy are not numbers")
    place = math.ceil((count + 1) * (1 - rate) - 1e-9)
    if place > count:
        raise ValueError(too_few(count, rate))
    return float(np.sort(values_M)[place - 1])


def too_few(count: int, rate: float) -> str:
    """What is wrong with so few calibration samples."""
    return (
        f"monitor.false_alarms={rate:g} takes at least {fewest_samples(rate)} samples of the SFT policy to calibrate "
        f"on, of which there are {count} on dev prompts of other groups; raise check.curve_prompts or check.samples, "
        "or monitor.false_alarms"
    )


def flags(values_TNJ: Array, groups: Sequence[str], rate: float) -> Mask:
    """Which samples [T, N, J] are flagged, each item by the threshold calibrated on the SFT policy's samples (the first
    point) of all other groups. What is not a number is flagged: a monitor that fails must not be silent.

    Raises as threshold does.
    """
    names = np.asarray(groups)
    flagged_TNJ = np.isnan(values_TNJ)
    for group in dict.fromkeys(groups):
        inside_N = names == group
        limit = threshold(values_TNJ[0, ~inside_N].ravel(), rate)
        flagged_TNJ[:, inside_N] |= values_TNJ[:, inside_N] > limit
    return flagged_TNJ
