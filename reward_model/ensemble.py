"""Several reward models as one score, and what each is trained on.

Shape suffixes: K members, B texts, E judgements.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def mean(scores_KB: Tensor, uwo_lambda: float) -> Tensor:
    """Mean over the members [B]."""
    return scores_KB.mean(0)


def wco(scores_KB: Tensor, uwo_lambda: float) -> Tensor:
    """Worst-case optimisation: the lowest member [B] (Coste et al., arXiv 2310.02743, eq. 3)."""
    return scores_KB.min(0).values


def uwo(scores_KB: Tensor, uwo_lambda: float) -> Tensor:
    """Uncertainty-weighted: mean - lambda * variance over the members [B] (arXiv 2310.02743, eq. 4).

    The variance divides by K (ddof = 0), so that one member alone has none.
    """
    return scores_KB.mean(0) - uwo_lambda * scores_KB.var(0, correction=0)


COMBINE: dict[str, Callable[[Tensor, float], Tensor]] = {"mean": mean, "wco": wco, "uwo": uwo}
"""Normalised scores [K, B] and lambda -> combined score [B]."""


def _draws(count: int, seed: int) -> Tensor:
    """How often each of `count` things is drawn in `count` draws with replacement [count] int64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(count, (count,), generator=generator).bincount(minlength=count)


def bootstrap_raters(rater_E: Tensor, seed: int) -> Tensor:
    """Multiplicity of each judgement [E] int64 when raters are drawn with replacement.

    Whole raters, since the errors of one rater go together: members that differ by judgements only agree on them.
    """
    present, index_E = rater_E.unique(return_inverse=True)
    return _draws(len(present), seed)[index_E]


def bootstrap_judgements(rater_E: Tensor, seed: int) -> Tensor:
    """Multiplicity of each judgement [E] int64 when judgements are drawn with replacement."""
    return _draws(len(rater_E), seed)


def everything(rater_E: Tensor, seed: int) -> Tensor:
    """Each judgement once [E] int64."""
    return torch.ones_like(rater_E)


BOOTSTRAP: dict[str, Callable[[Tensor, int], Tensor]] = {
    "raters": bootstrap_raters,
    "judgements": bootstrap_judgements,
    "none": everything,
}
"""rater_E and seed -> multiplicity of each judgement in one member's training."""
