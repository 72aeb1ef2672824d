"""Variance components of means over items in groups, answered by policies of several training seeds.

Shapes: S seeds, N items, G groups, K columns whose means are wanted together with their covariance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Spread:
    """Means over items [K] and the mean squares [K, K] of a groups x seeds layout.

    `effective` is the number of equal groups that would weigh the same: (sum of sizes)^2 / sum of squared sizes.
    """

    mean_K: Array
    by_group_KK: Array
    by_seed_KK: Array
    by_both_KK: Array
    items: int
    groups: int
    effective: float
    seeds: int

    def covariance(self) -> Array:
        """Covariance [K, K] of the means over new groups and new seeds, from the variance components.

        With one seed the group mean square is all there is. Components that come out negative are set to zero.
        """
        cells = self.groups * self.seeds
        if self.seeds == 1:
            return self.by_group_KK / cells
        group = _positive_part(self.by_group_KK - self.by_both_KK)
        seed = _positive_part(self.by_seed_KK - self.by_both_KK)
        return (self.by_both_KK + group + seed) / cells

    def df(self, weights_K: Array) -> float:
        """Degrees of freedom of the variance of weights . means (Satterthwaite 1946), at least 1."""
        group_df = self.effective - 1
        if self.seeds == 1:
            return max(group_df, 1.0)
        squares = [float(weights_K @ part @ weights_K) for part in (self.by_group_KK, self.by_seed_KK, self.by_both_KK)]
        variance = self.groups * self.seeds * float(weights_K @ self.covariance() @ weights_K)
        freedoms = (group_df, self.seeds - 1, group_df * (self.seeds - 1))
        total = sum(square**2 / freedom for square, freedom in zip(squares, freedoms, strict=True))
        return max(variance**2 / total, 1.0) if total > 0 else max(min(freedoms), 1.0)


def _positive_part(matrix_KK: Array) -> Array:
    values, vectors = np.linalg.eigh(matrix_KK)
    return (vectors * np.clip(values, 0, None)) @ vectors.T


def spread(values_SNK: Array, groups: Sequence[str]) -> Spread:
    """Mean squares of a balanced layout: every seed answers every item.

    Groups of unequal size: residuals are those of the linearised mean over items with the CR2 factor
    1 / sqrt(1 - share) of Bell and McCaffrey (2002), and `effective` replaces the number of groups in the degrees of
    freedom; with equal sizes both are exact. (With sizes from 5 to 200 in 8 groups, plain residuals and G - 1 degrees
    of freedom cover 88 % instead of 95 %.)
    Raises ValueError when shapes differ, a value is not finite, or there are fewer than two groups.
    """
    seeds, items, _ = values_SNK.shape
    names, index_N = np.unique(np.asarray(groups), return_inverse=True)
    if len(groups) != items or not np.isfinite(values_SNK).all():
        raise ValueError(f"{items} items need a group each ({len(groups)} given) and finite values")
    if len(names) < 2:
        raise ValueError(f"{items} items of {len(names)} group(s): an interval needs at least two groups")
    sizes_G = np.bincount(index_N).astype(float)
    member_GN = (index_N[None] == np.arange(len(names))[:, None]) / sizes_G[:, None]
    cells_GSK = np.einsum("gn,snk->gsk", member_GN, values_SNK)
    share_G = sizes_G / items
    count = len(names)
    seed_SK = np.einsum("g,gsk->sk", share_G, cells_GSK)
    mean_K = seed_SK.mean(0)
    group_GK = cells_GSK.mean(1) - mean_K
    both_GSK = cells_GSK - mean_K - group_GK[:, None] - (seed_SK - mean_K)
    weight_G = share_G**2 * count * (count - 1) / (1 - share_G)
    freedom = (count - 1) * max(seeds - 1, 1)
    return Spread(
        mean_K=mean_K,
        by_group_KK=seeds * np.einsum("g,gk,gl->kl", weight_G, group_GK, group_GK) / (count - 1),
        by_seed_KK=count * (seed_SK - mean_K).T @ (seed_SK - mean_K) / max(seeds - 1, 1),
        by_both_KK=np.einsum("g,gsk,gsl->kl", weight_G, both_GSK, both_GSK) / freedom,
        items=items,
        groups=count,
        effective=float(1 / (share_G**2).sum()),
        seeds=seeds,
    )
