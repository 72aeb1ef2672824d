"""Bradley-Terry losses on score differences. Shape suffix: E judgements."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

Nll = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def exact(delta_E: Tensor, target_E: Tensor, error_E: Tensor, lean_E: Tensor) -> Tensor:
    """-[t log s(d) + (1 - t) log s(-d)]: raters mean what they say (Bradley and Terry, 1952)."""
    return -(target_E * logsigmoid(delta_E) + (1 - target_E) * logsigmoid(-delta_E))


def smoothing(delta_E: Tensor, target_E: Tensor, error_E: Tensor, lean_E: Tensor) -> Tensor:
    """-(1-e) log s(d) - e log s(-d): label smoothing, every rater errs at rate e (arXiv 2403.17031, appendix)."""
    return exact(delta_E, target_E + error_E * (1 - 2 * target_E), error_E, lean_E)


def mistaken(delta_E: Tensor, target_E: Tensor, error_E: Tensor, lean_E: Tensor) -> Tensor:
    """-log[(1-e) s(d) + e' s(-d)] of the response preferred, d its score less the other's (Chen et al., WSDM 2013).

    error_E: log-odds z of an error. Where the rater leans to response a by l log-odds whatever is better, e = s(z - l)
    if a is the better one and e' = s(z + l) if b is; without a lean both are the rater's error rate. An error turns a
    verdict round, and a tie turned round is a tie: it has the likelihood sqrt(s(d) s(-d)) whatever z and l.
    """
    toward_E = (2 * target_E - 1) * lean_E
    meant_E = logsigmoid(toward_E - error_E) - exact(delta_E, target_E, error_E, lean_E)
    slipped_E = logsigmoid(toward_E + error_E) - exact(-delta_E, target_E, error_E, lean_E)
    return -torch.logaddexp(meant_E, slipped_E)


NOISE: dict[str, Nll] = {
    "none": exact,
    "smoothing": smoothing,
    "per_rater": mistaken,
    "per_rater_context": mistaken,
}
"""How raters err: (difference of the scores, P(a preferred), error rate (its log-odds where it is learned), lean to a
in log-odds), each [E] -> negative log-likelihood [E]."""

LEARNED = ("per_rater", "per_rater_context")
"""Those whose errors are learned beside the scores (rater_noise.py)."""


def bradley_terry(
    delta_E: Tensor,
    target_E: Tensor,
    weight_E: Tensor,
    margin_E: Tensor,
    denominator: float,
    noise: str = "none",
    error_E: Tensor | None = None,
    lean_E: Tensor | None = None,
) -> Tensor:
    """Weighted sum of negative log-likelihoods / denominator, a scalar.

    delta_E: score of a minus score of b. margin_E is taken off the difference in the direction of the preference
    (Llama 2, arXiv 2307.09288, eq. 2); ties have no direction and no margin. denominator: the weight of all judgements
    of the optimiser step over all ranks, so that the loss is the same however the step is cut. error_E, lean_E: see
    NOISE; None: zeros.
    """
    direction_E = 2 * target_E - 1
    shifted_E = delta_E - direction_E * margin_E
    error_E = torch.zeros_like(delta_E) if error_E is None else error_E
    lean_E = torch.zeros_like(delta_E) if lean_E is None else lean_E
    return (weight_E * NOISE[noise](shifted_E, target_E, error_E, lean_E)).sum() / denominator
