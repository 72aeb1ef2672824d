"""Ratings that were copied: several raters give one item identical scores, far more often than raters who agree do.

A naive test of consistency takes copies for agreement. Here ratings of an item are draws from the item's own
distribution, which is Dirichlet about the pool's (so raters agree more than by chance), or, for some share of items,
one draw that all raters have. The share and its likelihood ratio against none are reported.

Shapes: R ratings, U units that are copied as a whole, S slots (items with two ratings or more), N cells (slot, value).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sandwiching.reward_model.reliability.population import log_gamma
from sandwiching.reward_model.reliability.votes import Floats, Ints, totals

CONCENTRATIONS: Floats = np.geomspace(0.05, 500.0, 40).astype(np.float64)
EM_STEPS = 60


@dataclass(frozen=True, slots=True)
class Copied:
    """share: of units whose raters all have one rating beyond what agreement explains; likelihood_ratio: twice the gain
    in log-likelihood over no copies; identical: observed share of units with identical ratings; expected: the same if
    nothing were copied; units: how many were looked at."""

    share: float
    likelihood_ratio: float
    identical: float
    expected: float
    units: int


def copied_share(unit_R: Ints, slot_R: Ints, value_R: Floats) -> Copied | None:
    """unit_R: what is copied together; slot_R: the item rated (within one unit); value_R: the rating.

    Each rater rates a slot once. None without a slot that has two ratings.
    """
    values, code_R = np.unique(value_R, return_inverse=True)
    pool = (np.bincount(code_R) / len(code_R)).astype(np.float64)
    slots, slot_R, sizes_S = np.unique(slot_R, return_inverse=True, return_counts=True)
    kept_R = sizes_S[slot_R] > 1
    if not kept_R.any():
        return None
    unit_R, slot_R, code_R = unit_R[kept_R], slot_R[kept_R], code_R[kept_R]
    units, unit_R = np.unique(unit_R, return_inverse=True)
    cell_N, count_N = np.unique(slot_R * len(values) + code_R, return_counts=True)
    slot_N, code_N = cell_N // len(values), cell_N % len(values)
    unit_S = np.zeros(len(slots), dtype=np.int64)
    unit_S[slot_R] = unit_R
    one_value_S = np.bincount(slot_N, minlength=len(slots)) == 1
    identical_U = np.bincount(unit_S[slot_N[~one_value_S[slot_N]]], minlength=len(units)) == 0
    log_pool_U = totals(unit_S[slot_N], np.log(pool[code_N]), len(units))
    copy_U = np.where(identical_U, log_pool_U, -np.inf)
    fits = [
        _fit(copy_U, _honest(a, pool, slot_N, code_N, count_N, sizes_S, unit_S, len(units))) for a in CONCENTRATIONS
    ]
    with_copies, without = max(fit[1] for fit in fits), max(fit[2] for fit in fits)
    share, _, _ = max(fits, key=lambda fit: fit[1])
    none_at = float(CONCENTRATIONS[int(np.argmax([fit[2] for fit in fits]))])
    expected = _expected_identical(none_at, pool, sizes_S, unit_S, slot_N, len(units))
    return Copied(share, 2 * (with_copies - without), float(identical_U.mean()), expected, len(units))


def _honest(
    concentration: float,
    pool: Floats,
    slot_N: Ints,
    code_N: Ints,
    count_N: Ints,
    sizes_S: Ints,
    unit_S: Ints,
    units: int,
) -> Floats:
    """Log-likelihood of each unit's ratings, one after another, as Dirichlet-multinomial [U]."""
    weight_N = concentration * pool[code_N]
    gained_N = log_gamma(count_N + weight_N) - log_gamma(weight_N)
    used_S = np.unique(slot_N)
    whole_S = log_gamma(np.array([concentration])) - log_gamma(sizes_S[used_S].astype(np.float64) + concentration)
    return totals(unit_S[slot_N], gained_N, units) + totals(unit_S[used_S], whole_S, units)


def _fit(copy_U: Floats, honest_U: Floats) -> tuple[float, float, float]:
    """Share of copies by EM, and log-likelihoods with it and without any."""
    share = 0.1
    for _ in range(EM_STEPS):
        copied_U, own_U = np.log(share) + copy_U, np.log1p(-share) + honest_U
        share = float(np.clip(np.exp(copied_U - np.logaddexp(copied_U, own_U)).mean(), 1e-9, 1 - 1e-9))
    both = float(np.logaddexp(np.log(share) + copy_U, np.log1p(-share) + honest_U).sum())
    return share, both, float(honest_U.sum())


def _expected_identical(
    concentration: float, pool: Floats, sizes_S: Ints, unit_S: Ints, slot_N: Ints, units: int
) -> float:
    """Share of units with identical ratings in all slots, if ratings are Dirichlet-multinomial."""
    used_S = np.unique(slot_N)
    sizes, place_S = np.unique(sizes_S[used_S], return_inverse=True)
    weights = concentration * pool
    log_each = [
        log_gamma(size + weights)
        - log_gamma(weights)
        - (log_gamma(size + np.array([concentration])))
        + log_gamma(np.array([concentration]))
        for size in sizes
    ]
    log_same = np.array([np.log(np.exp(each).sum()) for each in log_each])
    return float(np.exp(totals(unit_S[used_S], log_same[place_S], units)).mean())
