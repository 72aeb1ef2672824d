"""Quantiles of Student's t: how wide an interval over few clusters has to be."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


@lru_cache(maxsize=4096)
def t_critical(confidence: float, df: float) -> float:
    """The t with P(|T| <= t) = confidence for Student's T with `df` >= 1 degrees of freedom."""
    low, high = 0.0, 2.0
    while _within(high, df) < confidence:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, df) < confidence else (low, middle)
    return (low + high) / 2


def _within(t: float, df: float) -> float:
    """P(|T| <= t): with t = sqrt(df) tan(angle) the density is proportional to cos(angle)^(df - 1)."""
    angle = math.atan(t / math.sqrt(df))
    scale = 2 * math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(math.pi)
    return scale * angle / 2 * float(_WEIGHTS @ np.cos((_NODES + 1) / 2 * angle) ** (df - 1))
