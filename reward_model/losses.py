"""Bradley-Terry losses on score differences. Shape suffix: E judgements."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

Nll = Callable[[Tensor, Tensor, Tensor], Tensor]


def exact(delta_E: Tensor, target_E: Tensor, error_E: Tensor) -> Tensor:
    """-[t log s(d) + (1 - t) log s(-d)]: raters mean what they say (Bradley and Terry, 1952)."""
    return -(target_E * logsigmoid(delta_E) + (1 - target_E) * logsigmoid(-delta_E))


def smoothing(delta_E: Tensor, target_E: Tensor, error_E: Tensor) -> Tensor:
    """-(1-e) log s(d) - e log s(-d): label smoothing, every rater errs at rate e (arXiv 2403.17031, appendix)."""
    return exact(delta_E, target_E + error_E * (1 - 2 * target_E), error_E)


NOISE: dict[str, Nll] = {"none": exact, "smoothing": smoothing}
"""How raters err: (difference of the scores, P(a preferred), error rate), each [E] -> negative log-likelihood [E]."""


def bradley_terry(
    delta_E: Tensor,
    target_E: Tensor,
    weight_E: Tensor,
    margin_E: Tensor,
    denominator: float,
    noise: str = "none",
    error_E: Tensor | None = None,
) -> Tensor:
    """Weighted sum of negative log-likelihoods / denominator, a scalar.

    delta_E: score of a minus score of b. margin_E is taken off the difference in the direction of the preference
    (Llama 2, arXiv 2307.09288, eq. 2); ties have no direction and no margin. denominator: the weight of all judgements
    of the optimiser step over all ranks, so that the loss is the same however the step is cut.
    """
    direction_E = 2 * target_E - 1
    shifted_E = delta_E - direction_E * margin_E
    error_E = torch.zeros_like(delta_E) if error_E is None else error_E
    return (weight_E * NOISE[noise](shifted_E, target_E, error_E)).sum() / denominator
