"""token_returns and whiten in Triton: one launch each."""

# Triton need not be installed, and takes num_warps beside a kernel's own arguments.
# pyright: reportMissingImports=false, reportIndexIssue=false, reportCallIssue=false
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 256
"""Tokens a program holds at once."""
WHITEN_BLOCK = 1024
EPSILON = tl.constexpr(1e-8)


@triton.jit
def affine(discount_a, sum_a, discount_b, sum_b):
    """b after a, each being x -> discount * x + sum."""
    return discount_a * discount_b, discount_b * sum_a + sum_b


@triton.jit
def token_returns_kernel(
    score,
    kl,
    values,
    mask,
    rewards,
    advantages,
    returns,
    statistics,
    T,
    kl_coefficient,
    gamma,
    lam,
    BLOCK_T: tl.constexpr,
):
    """One program a sequence, from its last column to its first; statistics of each row merged block by block."""
    row = tl.program_id(0).to(tl.int64)
    first = row * T
    score_row = tl.load(score + row)
    lane = tl.arange(0, BLOCK_T)
    carry = 0.0
    count = 0.0
    mean = 0.0
    m2 = 0.0
    for start in range(0, T, BLOCK_T):
        column = T - 1 - start - lane
        inside = column >= 0
        at = first + column
        kept = tl.load(mask + at, mask=inside, other=0) != 0
        next_kept = tl.load(mask + at + 1, mask=inside & (column + 1 < T), other=0) != 0
        value = tl.load(values + at, mask=kept, other=0.0)
        next_value = tl.load(values + at + 1, mask=next_kept, other=0.0)
        reward = -kl_coefficient * tl.load(kl + at, mask=kept, other=0.0)
        reward = tl.where(kept & (next_kept == 0), reward + score_row, reward)
        delta = tl.where(inside, reward + gamma * next_value - value, 0.0)
        discount = tl.where(inside, gamma * lam, 1.0)
        discount, advantage = tl.associative_scan((discount, delta), 0, affine)
        advantage += discount * carry
        carry = tl.sum(tl.where(lane == BLOCK_T - 1, advantage, 0.0), 0)
        advantage = tl.where(kept, advantage, 0.0)
        tl.store(rewards + at, reward, mask=inside)
        tl.store(advantages + at, advantage, mask=inside)
        tl.store(returns + at, advantage + value, mask=inside)
        block_count = tl.sum(tl.where(kept, 1.0, 0.0), 0)
        block_mean = tl.sum(advantage, 0) / tl.maximum(block_count, 1.0)
        deviation = tl.where(kept, advantage - block_mean, 0.0)
        share = block_count / tl.maximum(count + block_count, 1.0)
        difference = block_mean - mean
        m2 += tl.sum(deviation * deviation, 0) + difference * difference * count * share
        mean += difference * share
        count += block_count
    tl.store(statistics + 3 * row, count)
    tl.store(statistics + 3 * row + 1, mean)
    tl.store(statistics + 3 * row + 2, m2)


@triton.jit
def whiten_kernel(x, mask, statistics, out, size, SHIFT_MEAN: tl.constexpr, BLOCK_N: tl.constexpr):
    """Elementwise; the statistics are fp64."""
    at = tl.program_id(0).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = at < size
    count = tl.load(statistics)
    mean = tl.load(statistics + 1)
    variance = tl.load(statistics + 2) / tl.maximum(count, 1.0)
    scale = (1.0 / tl.sqrt(variance + EPSILON)).to(tl.float32)
    kept = tl.load(mask + at, mask=inside, other=0) != 0
    white = (tl.load(x + at, mask=kept, other=0.0) - mean.to(tl.float32)) * scale
    if not SHIFT_MEAN:
        white += mean.to(tl.float32)
    tl.store(out + at, tl.where(kept, white, 0.0), mask=inside)


def token_returns(
    score_B: Tensor,
    kl_BT: Tensor,
    values_BT: Tensor,
    mask_BT: Tensor,
    kl_coefficient: float,
    gamma: float,
    lam: float,
    rewards_BT: Tensor,
    advantages_BT: Tensor,
    returns_BT: Tensor,
    statistics_B3: Tensor,
) -> None:
    """As ops.token_returns, into the last four, with statistics of each row; contiguous fp32 tensors and bool mask."""
    B, T = values_BT.shape
    if B > 0:
        token_returns_kernel[(B,)](
            score_B,
            kl_BT,
            values_BT,
            mask_BT.view(torch.uint8),
            rewards_BT,
            advantages_BT,
            returns_BT,
            statistics_B3,
            T,
            kl_coefficient,
            gamma,
            lam,
            BLOCK_T=BLOCK,
            num_warps=4,
        )


def whiten(advantages_BT: Tensor, mask_BT: Tensor, statistics_3: Tensor, shift_mean: bool) -> Tensor:
    """As ops.whiten on contiguous tensors."""
    out_BT = torch.empty_like(advantages_BT)
    size = advantages_BT.numel()
    if size > 0:
        whiten_kernel[(triton.cdiv(size, WHITEN_BLOCK),)](
            advantages_BT,
            mask_BT.view(torch.uint8),
            statistics_3,
            out_BT,
            size,
            SHIFT_MEAN=shift_mean,
            BLOCK_N=WHITEN_BLOCK,
            num_warps=4,
        )
    return out_BT
