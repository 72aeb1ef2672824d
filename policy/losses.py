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
from sandwiching.policy.logprobs import response_targets
from sandwiching.policy.records import PPOBatch


def policy_loss_op(
    rows: PPOBatch, temperature: float, clip_range: float, entropy_coefficient: float, denominator: Denominator
) -> HeadOp[tuple[Tensor, PPOStatistics]]:
    """Clipped surrogate minus entropy bonus over the response tokens of `rows` (kernels.ops.ppo_linear_loss)."""
    target_N = response_targets(rows.tokens_BS, rows.attention_BS, rows.response_width)
    old_N, advantage_N, mask_N = (
        x_BT.flatten() for x_BT in (rows.logprobs_BT, rows.advantages_BT, rows.response_mask_BT)
    )

    def loss(hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None) -> tuple[Tensor, PPOStatistics]:
        return ppo_linear_loss(
            hidden_ND,
            weight_VD,
            target_N,
            old_N,
            advantage_N,
            mask_N,
            temperature,
            clip_range,
            entropy_coefficient,
            denominator,
            bias_V,
        )

    return loss


def masked_mean(x_BT: Tensor, mask_BT: Tensor, denominator: Denominator) -> Tensor:
    """Sum over unmasked positions / denominator; what stands at masked ones, NaN included, has no influence."""
    return x_BT.where(mask_BT, 0.0).sum() / denominator


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
