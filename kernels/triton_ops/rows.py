"""The row kernels in Triton: same functions as sandwiching.kernels.rows, on fp32 logits.

One program a row, so no sum depends on how many rows there are; rows are on grid axis x, which alone may exceed 65535.
Offsets are int64: a chunk may hold more than 2^31 logits.
"""

# Triton need not be installed, and takes num_warps beside a kernel's own arguments.
# pyright: reportMissingImports=false, reportIndexIssue=false, reportCallIssue=false
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK, WARPS = 4096, 16
"""Logits a program holds at once: row_dlogits and row_kl. The fastest of a grid on an H100, as are row_stats' below."""
STATS_BLOCK, STATS_WARPS = 1024, 8
LOWEST = tl.constexpr(-3.0e38)
"""Below every logit but -inf; finite, so that its difference to -inf is no NaN."""


@triton.jit
def row_stats_kernel(logits, target, logprob, entropy, lse, V, stride, inverse_temperature, BLOCK_V: tl.constexpr):
    """One pass: lane by lane the running maximum m, s = sum exp(z - m), w = sum exp(z - m) (z - m); lanes meet last.

    So no lane waits for another, and one exponential a logit does: either m or z is the new maximum.
    """
    row = tl.program_id(0).to(tl.int64)
    z_row = logits + row * stride
    lane = tl.arange(0, BLOCK_V)
    m = tl.full([BLOCK_V], LOWEST, tl.float32)
    s = tl.zeros([BLOCK_V], tl.float32)
    w = tl.zeros([BLOCK_V], tl.float32)
    for start in range(0, V, BLOCK_V):
        column = start + lane
        z = tl.load(z_row + column, mask=column < V, other=-float("inf")) * inverse_temperature
        above = z - m
        small = tl.exp(-tl.abs(above))
        rises = above > 0
        decay = tl.where(rises, small, 1.0)
        w = decay * (w - tl.where(rises, above, 0.0) * s)
        # A logit of -inf has weight 0, and 0 * -inf would be NaN.
        w += tl.where(rises | (small == 0), 0.0, small * above)
        s = decay * s + tl.where(rises, 1.0, small)
        m = tl.maximum(m, z)
    m_row = tl.max(m, 0)
    below = m - m_row
    decay = tl.exp(below)
    s_row = tl.sum(decay * s, 0)
    w_row = tl.sum(decay * (w + below * s), 0)
    log_s = tl.log(s_row)
    t = tl.load(target + row)
    kept = t >= 0
    z_t = tl.load(z_row + t, mask=kept & (t < V), other=float("nan")) * inverse_temperature
    tl.store(lse + row, m_row + log_s)
    tl.store(logprob + row, tl.where(kept, z_t - m_row - log_s, 0.0))
    tl.store(entropy + row, tl.where(kept, log_s - w_row / s_row, 0.0))


@triton.jit
def row_dlogits_kernel(
    logits,
    target,
    lse,
    entropy,
    dlogprob,
    dentropy,
    out,
    V,
    stride,
    out_stride,
    inverse_temperature,
    HAS_DLOGPROB: tl.constexpr,
    HAS_DENTROPY: tl.constexpr,
    BLOCK_V: tl.constexpr,
):
    """One block of one row: (g (1[v = target] - p) - h p (log p + H)) / temperature, g and h the incoming gradients."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK_V + tl.arange(0, BLOCK_V)
    inside = column < V
    t = tl.load(target + row)
    kept = t >= 0
    z = tl.load(logits + row * stride + column, mask=inside, other=-float("inf")) * inverse_temperature
    logp = z - tl.load(lse + row)
    p = tl.exp(logp)
    gradient = tl.zeros_like(p)
    if HAS_DLOGPROB:
        gradient += tl.load(dlogprob + row) * (tl.where(column == t, 1.0, 0.0) - p)
    if HAS_DENTROPY:
        gradient -= tl.where(p > 0, tl.load(dentropy + row) * p * (logp + tl.load(entropy + row)), 0.0)
    gradient = tl.where(kept, gradient * inverse_temperature, 0.0)
    tl.store(out + row * out_stride + column, gradient.to(out.dtype.element_ty), mask=inside)


@triton.jit
def row_kl_kernel(
    logits,
    reference_logits,
    lse,
    reference_lse,
    target,
    kl,
    V,
    stride,
    reference_stride,
    inverse_temperature,
    BLOCK_V: tl.constexpr,
):
    """sum of p (log p - log q), where p > 0."""
    row = tl.program_id(0).to(tl.int64)
    kept = tl.load(target + row) >= 0
    lse_row = tl.load(lse + row)
    reference_lse_row = tl.load(reference_lse + row)
    total = 0.0
    for start in range(0, V, BLOCK_V):
        column = start + tl.arange(0, BLOCK_V)
        inside = column < V
        z = tl.load(logits + row * stride + column, mask=inside, other=-float("inf"))
        z_reference = tl.load(reference_logits + row * reference_stride + column, mask=inside, other=0.0)
        logp = z * inverse_temperature - lse_row
        p = tl.exp(logp)
        difference = logp - (z_reference * inverse_temperature - reference_lse_row)
        # Not `p > 0`, which would hide NaN.
        total += tl.sum(tl.where(p == 0, 0.0, p * difference), 0)
    tl.store(kl + row, tl.where(kept, total, 0.0))


def row_stats(logits_RV: Tensor, target_R: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    """As rows.row_stats."""
    R, V = logits_RV.shape
    logprob_R, entropy_R, lse_R = (logits_RV.new_empty(R) for _ in range(3))
    row_stats_kernel[(R,)](
        logits_RV,
        target_R,
        logprob_R,
        entropy_R,
        lse_R,
        V,
        logits_RV.stride(0),
        1 / temperature,
        BLOCK_V=STATS_BLOCK,
        num_warps=STATS_WARPS,
    )
    return logprob_R, entropy_R, lse_R


def row_dlogits(
    logits_RV: Tensor,
    target_R: Tensor,
    lse_R: Tensor,
    entropy_R: Tensor,
    dlogprob_R: Tensor | None,
    dentropy_R: Tensor | None,
    temperature: float,
    out_RV: Tensor,
) -> None:
    """As rows.row_dlogits."""
    R, V = logits_RV.shape
    row_dlogits_kernel[(R, triton.cdiv(V, BLOCK))](
        logits_RV,
        target_R,
        lse_R,
        entropy_R,
        dlogprob_R,
        dentropy_R,
        out_RV,
        V,
        logits_RV.stride(0),
        out_RV.stride(0),
        1 / temperature,
        HAS_DLOGPROB=dlogprob_R is not None,
        HAS_DENTROPY=dentropy_R is not None,
        BLOCK_V=BLOCK,
        num_warps=WARPS,
    )


def row_kl(
    logits_RV: Tensor,
    reference_logits_RV: Tensor,
    lse_R: Tensor,
    reference_lse_R: Tensor,
    target_R: Tensor,
    temperature: float,
) -> Tensor:
    """As rows.row_kl."""
    R, V = logits_RV.shape
    kl_R = torch.empty_like(lse_R)
    row_kl_kernel[(R,)](
        logits_RV,
        reference_logits_RV,
        lse_R,
        reference_lse_R,
        target_R,
        kl_R,
        V,
        logits_RV.stride(0),
        reference_logits_RV.stride(0),
        1 / temperature,
        BLOCK_V=BLOCK,
        num_warps=WARPS,
    )
    return kl_R
