"""A linear Bradley-Terry head on frozen features: what the trunk already knows, read out with judgements in seconds.

Shape suffixes: N texts, D features, E judgements.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sandwiching.reward_model.losses import bradley_terry

RIDGE = 1.0
"""Precision of the Gaussian prior on the weights of standardised features."""


def fit_probe(
    features_ND: Tensor,
    text_a_E: Tensor,
    text_b_E: Tensor,
    target_E: Tensor,
    weight_E: Tensor,
    margin_E: Tensor,
    noise: str = "none",
    error_E: Tensor | None = None,
    ridge: float = RIDGE,
) -> Tensor:
    """Weights [D] fp32 of the head: the maximum of posterior over all judgements, by L-BFGS in fp64.

    Features are standardised for the fit, and the scale is folded back into the weights; a mean drops out of every
    difference. The problem is convex without noise, so that the start (zero) does not matter.
    """
    features_ND = features_ND.double()
    scale_D = features_ND.std(0, correction=0).clamp(min=1e-8)
    difference_ED = (features_ND[text_a_E] - features_ND[text_b_E]) / scale_D
    target_E, weight_E, margin_E = target_E.double(), weight_E.double(), margin_E.double()
    error_E = None if error_E is None else error_E.double()
    head_D = torch.zeros(features_ND.shape[1], dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([head_D], max_iter=500, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        solver.zero_grad()
        nll = bradley_terry(difference_ED @ head_D, target_E, weight_E, margin_E, 1.0, noise, error_E)
        loss = nll + 0.5 * ridge * head_D.square().sum()
        loss.backward()
        return loss

    solver.step(objective)
    return (head_D.detach() / scale_D).float()
