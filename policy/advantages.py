"""From scores and KL to advantages. Pure functions; shape suffixes as in policy/records.py.

Responses are right-padded: each mask row is true up to the response's last token (its end-of-text, if it has one).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

EPSILON = 1e-8


def token_rewards(score_B: Tensor, kl_BT: Tensor, mask_BT: Tensor, kl_coefficient: float) -> Tensor:
    """Rewards [B, T]: -kl_coefficient * kl at each response token, and the score at the last one.

    Their sum is score - kl_coefficient * sum of kl for every response with at least one token, ended by end-of-text or
    not (Ziegler et al., arXiv 1909.08593, eq. 2). A response without tokens gets no reward.
    """
    rewards_BT = -kl_coefficient * kl_BT.where(mask_BT, 0.0)
    return torch.where(last_token(mask_BT), rewards_BT + score_B[:, None], rewards_BT)


def last_token(mask_BT: Tensor) -> Tensor:
    """[B, T] bool: true at the last response token alone."""
    after_BT = torch.nn.functional.pad(mask_BT[:, 1:], (0, 1))
    return mask_BT & ~after_BT


def gae(rewards_BT: Tensor, values_BT: Tensor, mask_BT: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Advantages and returns [B, T] (Schulman et al., arXiv 1506.02438, eq. 16); zero at masked positions.

    delta_t = r_t + gamma V_{t+1} - V_t; A_t = delta_t + gamma lam A_{t+1}; the value after the last token is 0.
    Returns are A + V, with A before any whitening.
    """
    values_BT = values_BT.where(mask_BT, 0.0)
    rewards_BT = rewards_BT.where(mask_BT, 0.0)
    next_BT = torch.nn.functional.pad(values_BT[:, 1:], (0, 1))
    delta_BT = rewards_BT + gamma * next_BT - values_BT
    advantage_B = torch.zeros_like(rewards_BT[:, 0])
    columns = []
    for delta_B in reversed(delta_BT.unbind(1)):
        advantage_B = delta_B + gamma * lam * advantage_B
        columns.append(advantage_B)
    advantages_BT = torch.stack(columns[::-1], dim=1).where(mask_BT, 0.0)
    return advantages_BT, advantages_BT + values_BT


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


def _gae(
    rewards_BT: Tensor, values_BT: Tensor, mask_BT: Tensor, gamma: float, lam: float, group_B: Tensor
) -> tuple[Tensor, Tensor]:
    return gae(rewards_BT, values_BT, mask_BT, gamma, lam)


def _by_sequence(advantage: Callable[[Tensor, Tensor], Tensor]) -> AdvantageFunction:
    """One advantage for all tokens of a response, from its summed rewards; no value model, so returns are 0."""

    def advantages(
        rewards_BT: Tensor, values_BT: Tensor, mask_BT: Tensor, gamma: float, lam: float, group_B: Tensor
    ) -> tuple[Tensor, Tensor]:
        advantage_B = advantage(rewards_BT.where(mask_BT, 0.0).sum(1), group_B)
        return advantage_B[:, None].expand_as(rewards_BT).where(mask_BT, 0.0), torch.zeros_like(rewards_BT)

    return advantages


AdvantageFunction = Callable[[Tensor, Tensor, Tensor, float, float, Tensor], tuple[Tensor, Tensor]]
ADVANTAGES: dict[str, AdvantageFunction] = {
    "gae": _gae,
    "leave_one_out": _by_sequence(leave_one_out),
    "group": _by_sequence(group),
}
"""(rewards_BT, values_BT, mask_BT, gamma, lam, group_B) -> advantages_BT, returns_BT."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """count, mean and m2 = sum of (x - mean)^2, fp64 scalars."""

    count: Tensor
    mean: Tensor
    m2: Tensor

    @property
    def variance(self) -> Tensor:
        """Biased (divided by count); 0 for an empty batch."""
        return self.m2 / self.count.clamp(min=1)


def masked_statistics(x_BT: Tensor, mask_BT: Tensor) -> Statistics:
    """Statistics of the unmasked entries."""
    x_N = x_BT[mask_BT].double()
    count = torch.tensor(x_N.numel(), dtype=torch.float64, device=x_BT.device)
    mean = x_N.sum() / count.clamp(min=1)
    return Statistics(count, mean, (x_N - mean).square().sum())


def merge_statistics(parts: Iterable[Statistics]) -> Statistics:
    """Statistics of all parts together, from theirs alone (Chan, Golub and LeVeque, 1979)."""

    def merge(a: Statistics, b: Statistics) -> Statistics:
        count = (a.count + b.count).clamp(min=1)
        difference = b.mean - a.mean
        return Statistics(
            a.count + b.count,
            a.mean + difference * b.count / count,
            a.m2 + b.m2 + difference.square() * a.count * b.count / count,
        )

    return reduce(merge, parts)


def whiten(x_BT: Tensor, mask_BT: Tensor, shift_mean: bool = True, statistics: Statistics | None = None) -> Tensor:
    """(x - mean) / sqrt(variance + 1e-8), plus the mean unless `shift_mean`; zero at masked positions.

    `statistics` default to those of x; give merged ones when x is a share of the batch.
    """
    known = masked_statistics(x_BT, mask_BT) if statistics is None else statistics
    white_BT = (x_BT - known.mean) / (known.variance + EPSILON).sqrt()
    if not shift_mean:
        white_BT = white_BT + known.mean
    return white_BT.to(x_BT.dtype).where(mask_BT, 0.0)
