"""token_returns and whiten as torch.library custom ops: schema and fake (no gradient passes through them)."""

# No `from __future__ import annotations`: torch reads the schema from the annotations.
from functools import cache

import torch
from torch import Tensor

from sandwiching.kernels import returns
from sandwiching.kernels.backends import CUDA_LIBRARY, returns_backend


@torch.library.custom_op("sandwiching::token_returns", mutates_args=())
def token_returns_op(
    score_B: Tensor, kl_BT: Tensor, values_BT: Tensor, mask_BT: Tensor, kl_coefficient: float, gamma: float, lam: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rewards, advantages, returns [B, T] and statistics [3]."""
    backend = returns_backend(values_BT.device)
    if backend == "torch":
        return returns.token_returns(score_B, kl_BT, values_BT, mask_BT, kl_coefficient, gamma, lam)
    inputs = score_B.contiguous(), kl_BT.contiguous(), values_BT.contiguous(), mask_BT.contiguous()
    tokens = torch.empty_like(inputs[2]), torch.empty_like(inputs[2]), torch.empty_like(inputs[2])
    statistics_B3 = values_BT.new_empty(len(values_BT), 3)
    if backend == "cuda":
        launch = _cuda_library().token_returns
    else:
        from sandwiching.kernels.triton_ops.returns import token_returns as launch  # Triton need not be installed
    launch(*inputs, kl_coefficient, gamma, lam, *tokens, statistics_B3)
    return *tokens, returns.merge_rows(statistics_B3)


@token_returns_op.register_fake
def _(score_B, kl_BT, values_BT, mask_BT, kl_coefficient, gamma, lam):
    return *(values_BT.new_empty(values_BT.shape) for _ in range(3)), values_BT.new_empty(3, dtype=torch.float64)


@torch.library.custom_op("sandwiching::whiten", mutates_args=())
def whiten_op(advantages_BT: Tensor, mask_BT: Tensor, statistics_3: Tensor, shift_mean: bool) -> Tensor:
    """Whitened advantages [B, T]."""
    if returns_backend(advantages_BT.device) != "triton":
        return returns.whiten(advantages_BT, mask_BT, statistics_3, shift_mean)
    from sandwiching.kernels.triton_ops import returns as triton_returns  # Triton need not be installed

    return triton_returns.whiten(advantages_BT.contiguous(), mask_BT.contiguous(), statistics_3, shift_mean)


@whiten_op.register_fake
def _(advantages_BT, mask_BT, statistics_3, shift_mean):
    return torch.empty_like(advantages_BT)


@cache
def _cuda_library():
    torch.ops.load_library(CUDA_LIBRARY)
    return torch.ops.sandwiching_cuda
