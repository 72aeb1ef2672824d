"""PPO's losses, and what a response without end-of-text scores. Shape suffixes as in policy/records.py.

Losses are sums over response tokens divided by a denominator that the caller gives: the number of response tokens of
the whole optimiser step, over all ranks and micro-batches. So a loss does not depend on how rows are split, and a
response without tokens counts for nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sandwiching.kernels.ops import Denominator, PPOStatistics, ppo_linear_loss
from sandwiching.policy.heads import HeadOp


def policy_loss_op(
    target_M: Tensor,
    old_M: Tensor,
    advantage_M: Tensor,
    temperature: float,
    clip_range: float,
    entropy_coefficient: float,
    denominator: Denominator,
) -> HeadOp[tuple[Tensor, PPOStatistics]]:
    """Clipped surrogate minus entropy bonus over response tokens (kernels.ops.ppo_linear_loss)."""

    def loss(hidden_MD: Tensor, weight_VD: Tensor, bias_V: Tensor | None) -> tuple[Tensor, PPOStatistics]:
        return ppo_linear_loss(
            hidden_MD,
            weight_VD,
            target_M,
            old_M,
            advantage_M,
            torch.ones_like(target_M, dtype=torch.bool),
            temperature,
            clip_range,
            entropy_coefficient,
            denominator,
            bias_V,
        )

    return loss


def clipped_value_loss(
    values_M: Tensor, old_M: Tensor, returns_M: Tensor, clip_range: float, denominator: Denominator
) -> Tensor:
    """Half the larger of the squared errors of the value and of the value held within clip_range of the old one.

    (Huang et al., arXiv 2403.17031; the clipping is that of the PPO implementation of OpenAI baselines.)
    """
    clipped_M = old_M + (values_M - old_M).clamp(-clip_range, clip_range)
    return 0.5 * torch.maximum((values_M - returns_M).square(), (clipped_M - returns_M).square()).sum() / denominator


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
