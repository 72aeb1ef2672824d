"""The row kernels in torch: what is done with each row of a chunk of logits, in blocks of rows that stay in cache.

Every function takes contiguous logits [R, V] in fp32 or fp64 and negative targets for rows to ignore; dlogits may be
written over the logits.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK_ROWS = {"cpu": 16, "cuda": 128}
"""Chunks hold multiples of this many rows, so each row goes through the same reductions whatever its neighbours are."""
NEVER = -1e4
"""A log-prob whose exp is 0: takes the place of -inf, as 0 * -inf would be NaN."""


def row_stats(logits_RV: Tensor, target_R: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    """Log-prob of the target, entropy (nats), and log-sum-exp of logits / temperature, each [R]; ignored: 0, 0, lse."""
    logprob_R, entropy_R, lse_R = (logits_RV.new_empty(len(target_R)) for _ in range(3))
    for rows in _blocks(target_R):
        scaled_RV = logits_RV[rows] / temperature
        logprobs_RV = scaled_RV.log_softmax(-1)
        lse_R[rows] = scaled_RV.amax(-1) - logprobs_RV.amax(-1)
        logprob_R[rows] = logprobs_RV.gather(1, target_R[rows, None].clamp(min=0)).squeeze(1)
        torch.softmax(scaled_RV, -1, out=scaled_RV)
        entropy_R[rows] = -torch.linalg.vecdot(scaled_RV, logprobs_RV.clamp_(min=NEVER))
    kept_R = target_R >= 0
    return logprob_R.where(kept_R, 0.0), entropy_R.where(kept_R, 0.0), lse_R


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
    """d/dlogits of sum(dlogprob * logprob + dentropy * entropy); zero in ignored rows."""
    dlogprob_R = torch.zeros_like(lse_R) if dlogprob_R is None else dlogprob_R.where(target_R >= 0, 0.0) / temperature
    dentropy_R = None if dentropy_R is None else dentropy_R.where(target_R >= 0, 0.0) / temperature
    for rows in _blocks(target_R):
        logprobs_RV = (logits_RV[rows] / temperature).sub_(lse_R[rows, None]).clamp_(min=NEVER)
        p_RV = logprobs_RV.exp()
        if dentropy_R is None:
            p_RV.mul_(-dlogprob_R[rows, None])
        else:
            logprobs_RV.add_(entropy_R[rows, None]).mul_(-dentropy_R[rows, None]).sub_(dlogprob_R[rows, None])
            p_RV.mul_(logprobs_RV)
        p_RV.scatter_add_(1, target_R[rows, None].clamp(min=0), dlogprob_R[rows, None])
        out_RV[rows] = p_RV


def row_kl(
    logits_RV: Tensor,
    reference_logits_RV: Tensor,
    lse_R: Tensor,
    reference_lse_R: Tensor,
    target_R: Tensor,
    temperature: float,
) -> Tensor:
    """KL(policy || reference) [R] in nats; 0 for ignored rows."""
    kl_R = torch.empty_like(lse_R)
    for rows in _blocks(target_R):
        logprobs_RV = (logits_RV[rows] / temperature).sub_(lse_R[rows, None]).clamp_(min=NEVER)
        reference_RV = (reference_logits_RV[rows] / temperature).sub_(reference_lse_R[rows, None])
        p_RV = logprobs_RV.exp()
        difference_RV = logprobs_RV.sub_(reference_RV).where(p_RV > 0, 0.0)
        kl_R[rows] = torch.linalg.vecdot(p_RV, difference_RV)
    return kl_R.where(target_R >= 0, 0.0)


def _blocks(target_R: Tensor) -> Iterator[slice]:
    step = BLOCK_ROWS[target_R.device.type]
    return (slice(start, start + step) for start in range(0, len(target_R), step))
