"""PPO's clipped surrogate of log-probs, with its derivative."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

LOG_RATIO_LIMIT = 20.0
"""Log-ratios are clamped to +- this before exp: e^20 is already no honest importance weight."""


class Surrogate(NamedTuple):
    """Of each token: the loss, its derivative with respect to the log-prob, the ratio and the log-ratio."""

    loss: Tensor
    gradient: Tensor
    ratio: Tensor
    log_ratio: Tensor


def clipped_surrogate(logprob_N: Tensor, old_logprob_N: Tensor, advantage_N: Tensor, clip_range: float) -> Surrogate:
    """max(-A r, -A clip(r, 1 -+ clip_range)), r = exp(logprob - old) (Schulman et al., arXiv 1707.06347, eq. 7)."""
    free_N = logprob_N - old_logprob_N
    log_ratio_N = free_N.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
    ratio_N = log_ratio_N.exp()
    unclipped_N = -advantage_N * ratio_N
    clipped_N = -advantage_N * ratio_N.clamp(1 - clip_range, 1 + clip_range)
    moves_N = (unclipped_N >= clipped_N) & (free_N == log_ratio_N)
    return Surrogate(torch.maximum(unclipped_N, clipped_N), unclipped_N.where(moves_N, 0.0), ratio_N, log_ratio_N)
