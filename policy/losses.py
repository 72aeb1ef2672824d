"""PPO's losses, and what a response without end-of-text scores. Shape suffixes as in policy/records.py.

Losses are sums over response tokens divided by a denominator that the caller gives: the number of response tokens of
the whole optimiser step, over all ranks and micro-batches. So a loss does not depend on how rows are split, and a
response without tokens counts for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sandwiching.kernels.surrogate import clipped_surrogate

Denominator = float | Tensor


@dataclass(frozen=True, slots=True)
class PolicyLossStatistics:
    """Shares of an optimiser step's means: add them up over micro-batches and ranks.

    approx_kl: mean log_ratio^2 / 2 against the sampling policy; clip_fraction: tokens whose ratio is outside the clip;
    ratio: mean; ratio_squared: mean of squares. Scalars without gradient.
    """

    approx_kl: Tensor
    clip_fraction: Tensor
    ratio: Tensor
    ratio_squared: Tensor

    def as_dict(self) -> dict[str, Tensor]:
        """By name."""
        return {
            "approx_kl": self.approx_kl,
            "clip_fraction": self.clip_fraction,
            "ratio": self.ratio,
            "ratio_squared": self.ratio_squared,
        }


def masked_mean(x_BT: Tensor, mask_BT: Tensor, denominator: Denominator) -> Tensor:
    """Sum over unmasked positions / denominator; what stands at masked ones, NaN included, has no influence."""
    return x_BT.where(mask_BT, 0.0).sum() / denominator


def clipped_policy_loss(
    logprobs_BT: Tensor,
    old_BT: Tensor,
    advantages_BT: Tensor,
    mask_BT: Tensor,
    clip_range: float,
    denominator: Denominator,
) -> tuple[Tensor, PolicyLossStatistics]:
    """Negated clipped surrogate (Schulman et al., arXiv 1707.06347, eq. 7): max(-A r, -A clip(r, 1 -+ clip_range)).

    r = exp(logprobs - old), the log-ratio clamped to +-20.
    """
    # Masked before anything else, so that no gradient passes through what stands at masked positions.
    loss_BT, _, ratio_BT, log_ratio_BT = clipped_surrogate(
        logprobs_BT.where(mask_BT, 0.0), old_BT.where(mask_BT, 0.0), advantages_BT, clip_range
    )
    with torch.no_grad():
        statistics = PolicyLossStatistics(
            approx_kl=masked_mean(0.5 * log_ratio_BT.square(), mask_BT, denominator),
            clip_fraction=masked_mean(((ratio_BT - 1).abs() > clip_range).float(), mask_BT, denominator),
            ratio=masked_mean(ratio_BT, mask_BT, denominator),
            ratio_squared=masked_mean(ratio_BT.square(), mask_BT, denominator),
        )
    return masked_mean(loss_BT, mask_BT, denominator), statistics


def clipped_value_loss(
    values_BT: Tensor,
    old_BT: Tensor,
    returns_BT: Tensor,
    mask_BT: Tensor,
    clip_range: float,
    denominator: Denominator,
) -> Tensor:
    """Half the larger of the squared errors of the value and of the value held within clip_range of the old one.

    (Huang et al., arXiv 2403.17031; the clipping is that of the PPO implementation of OpenAI baselines.)
    """
    # Masked before anything else, so that no gradient passes through what stands at masked positions.
    values_BT = values_BT.where(mask_BT, 0.0)
    clipped_BT = old_BT + (values_BT - old_BT).clamp(-clip_range, clip_range)
    loss_BT = 0.5 * torch.maximum((values_BT - returns_BT).square(), (clipped_BT - returns_BT).square())
    return masked_mean(loss_BT, mask_BT, denominator)


def replace_score(scores_B: Tensor, finished_B: Tensor, value: float) -> Tensor:
    """Unfinished responses score `value` (Huang et al., arXiv 2403.17031: the EOS trick, with -1)."""
    return scores_B.where(finished_B, value)


def subtract_score(scores_B: Tensor, finished_B: Tensor, value: float) -> Tensor:
    """Unfinished responses lose |value| (as in TRL)."""
    return scores_B.where(finished_B, scores_B - abs(value))


def keep_score(scores_B: Tensor, finished_B: Tensor, value: float) -> Tensor:
    """Unfinished responses score as any other."""
    return scores_B


MISSING_EOS: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "replace": replace_score,
    "subtract": subtract_score,
    "ignore": keep_score,
}
