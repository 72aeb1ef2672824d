"""Which pairs a label is spent on. Shape suffixes: K members, P pairs."""

from __future__ import annotations

from torch import Tensor


def preference_variance(delta_KP: Tensor) -> Tensor:
    """Variance over the members of P(a preferred) = sigmoid(raw score difference) [P] fp64, ddof = 0.

    As Christiano et al. (arXiv 1706.03741, section 2.2.4) choose queries by an ensemble's variance. It is large where
    members contradict each other, which may be where raters are near chance: such labels tell little.
    """
    return delta_KP.double().sigmoid().var(0, correction=0)
