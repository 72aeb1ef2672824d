"""Proxy-length slope: reward a token of length, among samples of one checkpoint. Shapes: N items, J samples."""

from __future__ import annotations

import numpy as np

from sandwiching.oversight.monitors.auroc import UndefinedError
from sandwiching.oversight.spread import Array


def slope_by_item(lengths_NJ: Array, rewards_NJ: Array) -> Array:
    """Values [N] whose mean is the least-squares slope of reward on length, each item counting by its influence.

    Raises UndefinedError when a reward is not finite, or all lengths are equal.
    """
    lost = int((~np.isfinite(rewards_NJ)).sum())
    if lost:
        raise UndefinedError(f"{lost} of {rewards_NJ.size} rewards are not finite")
    centred_NJ, reward_NJ = lengths_NJ - lengths_NJ.mean(), rewards_NJ - rewards_NJ.mean()
    square = float((centred_NJ**2).sum())
    if not square > 0:
        raise UndefinedError("all samples have one length")
    slope = float((centred_NJ * reward_NJ).sum()) / square
    return slope + len(lengths_NJ) * (centred_NJ * (reward_NJ - slope * centred_NJ)).sum(1) / square
