"""token_returns and whiten in torch, on any device: scans by doubling, log2(T) steps instead of T."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-8


def token_returns(
    score_B: Tensor, kl_BT: Tensor, values_BT: Tensor, mask_BT: Tensor, kl_coefficient: float, gamma: float, lam: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As ops.token_returns."""
    last_BT = mask_BT & ~F.pad(mask_BT[:, 1:], (0, 1))
    rewards_BT = -kl_coefficient * kl_BT.where(mask_BT, 0.0) + score_B[:, None].where(last_BT, 0.0)
    values_BT = values_BT.where(mask_BT, 0.0)
    delta_BT = rewards_BT + gamma * F.pad(values_BT[:, 1:], (0, 1)) - values_BT
    advantages_BT = reverse_discounted_sum(delta_BT, gamma * lam).where(mask_BT, 0.0)
    return rewards_BT, advantages_BT, advantages_BT + values_BT, masked_statistics(advantages_BT, mask_BT)


def reverse_discounted_sum(x_BT: Tensor, discount: float) -> Tensor:
    """y_t = x_t + discount * y_{t+1} (Hillis and Steele, 1986: after k steps y_t holds 2^k terms)."""
    step = 1
    while step < x_BT.shape[1]:
        x_BT = x_BT + discount**step * F.pad(x_BT[:, step:], (0, step))
        step *= 2
    return x_BT


def masked_statistics(x_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Count, mean and sum of squared deviations of the unmasked entries, [3] fp64."""
    x_BT = x_BT.double()
    count = mask_BT.sum(dtype=torch.float64)
    mean = x_BT.where(mask_BT, 0.0).sum() / count.clamp(min=1)
    return torch.stack([count, mean, (x_BT - mean).where(mask_BT, 0.0).square().sum()])


def merge_rows(statistics_B3: Tensor) -> Tensor:
    """Statistics [3] fp64 of all rows together from those of each (Chan, Golub and LeVeque, 1979)."""
    count_B, mean_B, m2_B = statistics_B3.double().unbind(1)
    count = count_B.sum()
    mean = (count_B * mean_B).sum() / count.clamp(min=1)
    return torch.stack([count, mean, m2_B.sum() + (count_B * (mean_B - mean).square()).sum()])


def whiten(advantages_BT: Tensor, mask_BT: Tensor, statistics_3: Tensor, shift_mean: bool) -> Tensor:
    """As ops.whiten."""
    count, mean, m2 = statistics_3.unbind()
    white_BT = (advantages_BT - mean) / (m2 / count.clamp(min=1) + EPSILON).sqrt()
    return (white_BT if shift_mean else white_BT + mean).where(mask_BT, 0.0)
