"""A linear Bradley-Terry head on frozen features: what the trunk already knows, read out with judgements in seconds.

Shape suffixes: N texts, D features, E judgements.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sandwiching.reward_model.losses import LEARNED, bradley_terry
from sandwiching.reward_model.rater_noise import RaterContext, RaterNoise

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
    raters: tuple[RaterNoise, RaterContext] | None = None,
) -> Tensor:
    """Weights [D] fp32 of the head: the maximum of posterior over all judgements, by L-BFGS in fp64.

    Features are standardised for the fit, and the scale is folded back into the weights; a shift drops out of every
    difference. The problem is convex without noise, so that the start (zero) does not matter. `raters`, needed where
    their errors are learned, are fitted in place and end in fp64; both start where raters mean what they say.
    """
    features_ND = features_ND.double()
    scale_D = features_ND.std(0, correction=0).clamp(min=1e-8)
    target_E, weight_E, margin_E = target_E.double(), weight_E.double(), margin_E.double()
    head_D = torch.zeros(features_ND.shape[1], dtype=torch.float64, requires_grad=True)

    def loss(delta_E: Tensor, noise: str, error_E: Tensor | None, lean_E: Tensor | None = None) -> Tensor:
        nll = bradley_terry(delta_E, target_E, weight_E, margin_E, 1.0, noise, error_E, lean_E)
        return nll + 0.5 * ridge * head_D.square().sum()

    if noise not in LEARNED:
        difference_ED = (features_ND[text_a_E] - features_ND[text_b_E]) / scale_D
        error_E = None if error_E is None else error_E.double()
        _minimise([head_D], lambda: loss(difference_ED @ head_D, noise, error_E))
        return (head_D.detach() / scale_D).float()

    assert raters is not None, f"noise {noise} needs raters"
    module, context = raters[0].double(), raters[1]
    standard_ND = (features_ND - features_ND[:1]) / scale_D

    def delta() -> Tensor:
        # By text: many judgements share one, and this problem takes more steps.
        scores_N = standard_ND @ head_D
        return scores_N[text_a_E] - scores_N[text_b_E]

    def joint() -> Tensor:
        logit_E, lean_E, penalty = module(context)
        return loss(delta(), noise, logit_E, lean_E) + penalty

    _minimise([head_D], lambda: loss(delta(), "none", None))
    _minimise([head_D, *module.parameters()], joint)
    return (head_D.detach() / scale_D).float()


def _minimise(parameters: Sequence[Tensor], loss: Callable[[], Tensor]) -> None:
    solver = torch.optim.LBFGS(parameters, max_iter=500, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        solver.zero_grad()
        value = loss()
        value.backward()
        return value

    solver.step(objective)
