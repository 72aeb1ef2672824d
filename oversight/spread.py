"""Variance components of means over items in groups, answered by policies of several training seeds.

Shapes: S seeds, N items, G groups, K columns whose means are wanted together with their covariance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

HIDDEN = 0.25
"""Weight, in the degrees of freedom, of a variance component that came out negative."""


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
        """Degrees of freedom of the variance of weights . means (Satterthwaite 1946), at least 1.

        A component that came out negative has no part in the variance, and a quarter here: it may be nil, or the data
        may hide it. (With a whole part, three seeds that do not differ at all leave two degrees of freedom, and
        intervals of 95 % cover 99 %; with none they cover 93 % where seeds differ somewhat.)
        A mean square counts 1 + 2/df times here, as the mean of its square is that much larger than the square of its
        mean: few seeds that differ little by chance would else promise more than they know. (At three seeds, intervals
        of 95 % would cover 93 % beside groups that differ too.)
        """
        group_df, seed_df = self.effective - 1, self.seeds - 1
        if self.seeds == 1:
            return max(group_df, 1.0)
        group, seed, both = (
            float(weights_K @ part @ weights_K) for part in (self.by_group_KK, self.by_seed_KK, self.by_both_KK)
        )
        variance, total = both, both**2 / (group_df * seed_df)
        for square, freedom in ((group, group_df), (seed, seed_df)):
            if square > both:
                counted = square * (1 + 2 / freedom)
                variance += counted - both
                total += counted**2 / freedom
            else:
                total += HIDDEN * square**2 / freedom
        return max(variance**2 / total, 1.0) if total > 0 else max(min(group_df, seed_df), 1.0)


def _positive_part(matrix_KK: Array) -> Array:
    if len(matrix_KK) == 1:
        return np.maximum(matrix_KK, 0)
    values, vectors = np.linalg.eigh(matrix_KK)
    return (vectors * np.clip(values, 0, None)) @ vectors.T


@lru_cache(maxsize=64)
def _layout(groups: tuple[str, ...]) -> tuple[NDArray[np.int64], Array, Array]:
    """Code of each item's group [N], items of each group [G], and what takes means over groups [G, N]."""
    names = {group: code for code, group in enumerate(dict.fromkeys(groups))}
    index_N = np.array([names[group] for group in groups], dtype=np.int64)
    sizes_G = np.bincount(index_N).astype(float)
    return index_N, sizes_G, (index_N == np.arange(len(names))[:, None]) / sizes_G[:, None]


def spread(values_SNK: Array, groups: Sequence[str], leverage_N: Array | None = None) -> Spread:
    """Mean squares of a balanced layout: every seed answers every item.

    leverage_N: how much each item weighs in the estimate whose linearised values these are; equally where not given.

    Groups of unequal size: residuals are those of the linearised mean over items with the CR2 factor
    1 / sqrt(1 - share) of Bell and McCaffrey (2002), and `effective` replaces the number of groups in the degrees of
    freedom; with equal sizes both are exact. (With sizes from 5 to 200 in 8 groups, plain residuals and G - 1 degrees
    of freedom cover 88 % instead of 95 %.)
    Raises ValueError when shapes differ, a value is not finite, or there are fewer than two groups.
    """
    seeds, items, columns = values_SNK.shape
    index_N, sizes_G, member_GN = _layout(tuple(groups))
    count = len(sizes_G)
    if len(groups) != items or not np.isfinite(values_SNK).all():
        raise ValueError(f"{items} items need a group each ({len(groups)} given) and finite values")
    if count < 2:
        raise ValueError(f"{items} items of {count} group(s): an interval needs at least two groups")
    values_NC = values_SNK.transpose(1, 0, 2).reshape(items, seeds * columns)
    cells_GSK = (member_GN @ values_NC).reshape(count, seeds, columns)
    share_G = sizes_G / items
    lever_G = share_G if leverage_N is None else np.bincount(index_N, leverage_N) / leverage_N.sum()
    seed_SK = np.tensordot(share_G, cells_GSK, 1)
    mean_K = seed_SK.mean(0)
    group_GK = cells_GSK.mean(1) - mean_K
    both_GSK = cells_GSK - mean_K - group_GK[:, None] - (seed_SK - mean_K)
    weight_G = share_G**2 * count * (count - 1) / (1 - lever_G)
    both_CK = (np.sqrt(weight_G)[:, None, None] * both_GSK).reshape(count * seeds, columns)
    freedom = (count - 1) * max(seeds - 1, 1)
    return Spread(
        mean_K=mean_K,
        by_group_KK=seeds * (weight_G * group_GK.T) @ group_GK / (count - 1),
        by_seed_KK=count * (seed_SK - mean_K).T @ (seed_SK - mean_K) / max(seeds - 1, 1),
        by_both_KK=both_CK.T @ both_CK / freedom,
        items=items,
        groups=count,
        effective=float(1 / (lever_G**2).sum()),
        seeds=seeds,
    )
