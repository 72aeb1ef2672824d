"""Quantiles of Student's t: how wide an interval over few clusters has to be."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


@lru_cache(maxsize=4096)
def t_critical(confidence: float, df: float) -> float:
    """The t with P(|T| <= t) = confidence for Student's T with `df` >= 1 degrees of freedom."""
    # P is concave in t, and the normal quantile lies below: Newton's steps rise to the root without passing it.
    t = NormalDist().inv_cdf((1 + confidence) / 2)
    for _ in range(100):
        step = (confidence - _within(t, df)) / (2 * _density(t, df))
        t += step
        if step <= 1e-12 * t:
            break
    return t


def _density(t: float, df: float) -> float:
    log_scale = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - math.log(df * math.pi) / 2
    return math.exp(log_scale - (df + 1) / 2 * math.log1p(t * t / df))


def _within(t: float, df: float) -> float:
    """P(|T| <= t): with t = sqrt(df) tan(angle) the density is proportional to cos(angle)^(df - 1)."""
    angle = math.atan(t / math.sqrt(df))
    scale = 2 * math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(math.pi)
    return scale * angle / 2 * float(_WEIGHTS @ np.cos((_NODES + 1) / 2 * angle) ** (df - 1))
