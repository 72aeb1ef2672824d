"""Area under the ROC curve as a comparison of pairs, and its influence by item, for intervals by group and seed.

AUROC = P(a sample of the kind looked for scores above one of the other) + P(equal) / 2, over all such pairs.
Shapes: S seeds, N items, J samples of an item, M samples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sandwiching.oversight.spread import Array

Mask = NDArray[np.bool_]


class UndefinedError(ValueError):
    """A number that cannot be had from these samples; says why."""


def placements(scores_M: Array, positive_M: Mask) -> Array:
    """Of each sample, the share [M] of the other kind that it is told apart from rightly; ties count half.

    Structural components of DeLong et al. (1988): their mean over either kind is the AUROC. Infinite scores are ranked.
    Raises UndefinedError when a score is not a number, or a kind has no sample.
    """
    unknown = int(np.isnan(scores_M).sum())
    if unknown:
        raise UndefinedError(f"{unknown} of {len(scores_M)} values are not numbers")
    found = int(positive_M.sum())
    if not 0 < found < len(scores_M):
        raise UndefinedError(f"{found} of {len(scores_M)} samples are of the kind looked for")
    shares_M = np.empty(len(scores_M))
    shares_M[positive_M] = _share_below(scores_M[positive_M], scores_M[~positive_M])
    shares_M[~positive_M] = 1 - _share_below(scores_M[~positive_M], scores_M[positive_M])
    return shares_M


def _share_below(scores_P: Array, others_Q: Array) -> Array:
    ordered = np.sort(others_Q)
    below, not_above = (np.searchsorted(ordered, scores_P, side) for side in ("left", "right"))
    return (below + not_above) / (2 * len(others_Q))


def auroc_by_item(scores_NJ: Array, positive_NJ: Mask, counted_NJ: Mask | None = None) -> Array:
    """Values [N] of one run whose mean is its AUROC, each item counting by its influence on it.

    counted_NJ: the samples that are compared; all where None. Raises UndefinedError, see placements.
    """
    counted_NJ = np.ones(scores_NJ.shape, bool) if counted_NJ is None else counted_NJ
    positive_NJ = positive_NJ & counted_NJ
    shares_M = placements(scores_NJ[counted_NJ], positive_NJ[counted_NJ])
    kind_M = positive_NJ[counted_NJ]
    area = float(shares_M[kind_M].mean())
    influence_NJ = np.zeros(scores_NJ.shape)
    influence_NJ[counted_NJ] = (shares_M - area) / np.where(kind_M, kind_M.sum(), (~kind_M).sum())
    return area + len(scores_NJ) * influence_NJ.sum(1)
