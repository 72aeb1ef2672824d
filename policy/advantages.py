"""From scores and KL to advantages. Pure functions; shape suffixes as in policy/records.py.

Responses are right-padded: each mask row is true up to the response's last token (its end-of-text, if it has one).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sandwiching.kernels.ops import masked_statistics, token_returns, whiten


def token_rewards(score_B: Tensor, kl_BT: Tensor, mask_BT: Tensor, kl_coefficient: float) -> Tensor:
    """Rewards [B, T]: -kl_coefficient * kl at each response token, and the score at the last one.

    Their sum is score - kl_coefficient * sum of kl for every response with at least one token, ended by end-of-text or
    not (Ziegler et al., arXiv 1909.08593, eq. 2). A response without tokens gets no reward.
    """
    return token_returns(score_B, kl_BT, torch.zeros_like(kl_BT), mask_BT, kl_coefficient, 0.0, 0.0)[0]


def whitened(x_BT: Tensor, mask_BT: Tensor, shift_mean: bool = True) -> Tensor:
    """x by its own mean and deviation: see kernels.ops.whiten."""
    return whiten(x_BT, mask_BT, masked_statistics(x_BT, mask_BT), shift_mean)


def truncated_importance(logprobs_BT: Tensor, behaviour_BT: Tensor, mask_BT: Tensor, cap: float) -> Tensor:
    """min(policy / behaviour, cap) of each token [B, T], 1 at padding (Espeholt et al., arXiv 1802.01561, eq. 1: rho).

    behaviour_BT: log-probs under the weights that sampled.
    """
    ratio_BT = (logprobs_BT - behaviour_BT).clamp(-20, 20).exp().clamp(max=cap)
    return ratio_BT.where(mask_BT, 1.0)


def leave_one_out(rewards_B: Tensor, group_B: Tensor) -> Tensor:
    """Each reward minus the mean of the others of its group (RLOO: Ahmadian et al., arXiv 2402.14740, eq. 8).

    group_B int64: equal for the responses to one prompt. Raises ValueError when a group has one response.
    """
    count_B, sum_B, _ = _group_sums(rewards_B, group_B)
    return rewards_B - (sum_B - rewards_B) / (count_B - 1)


def group(rewards_B: Tensor, group_B: Tensor) -> Tensor:
    """(reward - mean) / deviation within its group (GRPO: Shao et al., arXiv 2402.03300, section 4.1.2).

    The deviation divides by count - 1; a group of equal rewards has advantages 0. Arguments as for leave_one_out.
    """
    count_B, sum_B, squares_B = _group_sums(rewards_B, group_B)
    return (rewards_B - sum_B / count_B) / ((squares_B / (count_B - 1)).sqrt() + 1e-4)


def _group_sums(rewards_B: Tensor, group_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Count, sum, and sum of squared deviations from the mean, of each row's group."""
    _, index_B, counts = group_B.unique(return_inverse=True, return_counts=True)
    if (counts < 2).any():
        raise ValueError("ppo.samples_per_prompt must be at least 2: a group with one response has no baseline")
    count_B = counts[index_B].to(rewards_B.dtype)
    zeros = torch.zeros(len(counts), dtype=rewards_B.dtype, device=rewards_B.device)
    sum_B = zeros.index_add(0, index_B, rewards_B)[index_B]
    squares_B = zeros.index_add(0, index_B, (rewards_B - sum_B / count_B).square())[index_B]
    return count_B, sum_B, squares_B


def gae(
    score_B: Tensor,
    kl_BT: Tensor,
    values_BT: Tensor,
    mask_BT: Tensor,
    group_B: Tensor,
    kl_coefficient: float,
    gamma: float,
    lam: float,
) -> Estimate:
    """Generalised advantage estimation (Schulman et al., arXiv 1506.02438, eq. 16)."""
    return token_returns(score_B, kl_BT, values_BT, mask_BT, kl_coefficient, gamma, lam)


def _by_sequence(advantage: Callable[[Tensor, Tensor], Tensor]) -> AdvantageFunction:
    """One advantage for all tokens of a response, from its summed rewards; no value model, so returns are 0."""

    def advantages(
        score_B: Tensor,
        kl_BT: Tensor,
        values_BT: Tensor,
        mask_BT: Tensor,
        group_B: Tensor,
        kl_coefficient: float,
        gamma: float,
        lam: float,
    ) -> Estimate:
        rewards_BT = token_rewards(score_B, kl_BT, mask_BT, kl_coefficient)
        advantage_B = advantage(rewards_BT.sum(1), group_B)
        advantages_BT = advantage_B[:, None].expand_as(rewards_BT).where(mask_BT, 0.0)
        return rewards_BT, advantages_BT, torch.zeros_like(rewards_BT), masked_statistics(advantages_BT, mask_BT)

    return advantages


Estimate = tuple[Tensor, Tensor, Tensor, Tensor]
"""Rewards, advantages and returns [B, T], and the advantages' statistics [3]: as kernels.ops.token_returns."""
AdvantageFunction = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, float, float, float], Estimate]
ADVANTAGES: dict[str, AdvantageFunction] = {
    "gae": gae,
    "leave_one_out": _by_sequence(leave_one_out),
    "group": _by_sequence(group),
}
"""(score_B, kl_BT, values_BT, mask_BT, group_B, kl_coefficient, gamma, lam) -> Estimate."""
