"""The ops on a vocabulary head, chunk of rows by chunk of rows: logits of one chunk are all that is ever in memory.

A chunk goes through a GEMM into a workspace, a row kernel (rows.py or triton_ops/) and, for gradients, two more GEMMs.
On a GPU every GEMM that makes logits has the same number of rows, the last one padded; on CPU the last is padded to a
block, and ignored rows are left out. So a token's log-prob has the same bits in every batch and in every op here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from sandwiching.kernels import rows
from sandwiching.kernels.backends import row_backend
from sandwiching.kernels.head import Head
from sandwiching.kernels.surrogate import clipped_surrogate

IGNORED = -100
CHUNK_BYTES = {"cpu": 64 * 2**20, "cuda": 5 * 2**28}
"""Size of the workspace for logits, by device."""
MOST_ROWS = 2048
"""Of a chunk: they keep a GPU busy, and the last chunk of a batch is padded to them."""
Rows = slice | Tensor
"""Of a chunk: a slice on a GPU, the indices of rows that count on CPU."""


@dataclass(frozen=True, slots=True)
class Needs:
    """Which gradients to form."""

    hidden: bool
    weight: bool
    bias: bool


class _RowKernels(Protocol):
    """rows.py or triton_ops/rows.py."""

    row_stats: Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor, Tensor]]
    row_dlogits: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor | None, float, Tensor], None]
    row_kl: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, float], Tensor]


class _Gradients:
    """dhidden in `dtype`, dweight and dbias summed in fp32; empty where not needed."""

    def __init__(self, head: Head, hidden_ND: Tensor, needs: Needs, dtype: torch.dtype) -> None:
        self.head, self.needs = head, needs
        self.hidden_ND = hidden_ND.new_zeros(hidden_ND.shape if needs.hidden else 0, dtype=dtype)
        self.weight_VD = hidden_ND.new_zeros(head.weight_VD.shape if needs.weight else 0, dtype=head.sums)
        self.bias_V = hidden_ND.new_zeros(len(head.weight_VD) if needs.bias else 0, dtype=head.sums)

    def add(self, chunk: Rows, dlogits_RV: Tensor, hidden_RD: Tensor) -> None:
        """A chunk's share."""
        if self.needs.hidden:
            self.hidden_ND[chunk] = self.head.dhidden(dlogits_RV)[: _size(chunk)].to(self.hidden_ND.dtype)
        if self.needs.weight:
            self.head.add_dweight(self.weight_VD, dlogits_RV, hidden_RD)
        if self.needs.bias:
            self.bias_V += dlogits_RV.sum(0, dtype=self.head.sums)


def forward(
    hidden_ND: Tensor, weight_VD: Tensor, target_N: Tensor, temperature: float, bias_V: Tensor | None, chunk_bytes: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-prob, entropy and log-sum-exp [N] (0 for ignored rows)."""
    head, kernels = Head(weight_VD, bias_V), _row_kernels(weight_VD)
    outputs = [torch.zeros(len(target_N), dtype=head.sums, device=hidden_ND.device) for _ in range(3)]
    workspace_RV = _workspace(head, chunk_bytes)
    for chunk in _chunks(target_N, len(workspace_RV)):
        logits_RV = _logits(head, hidden_ND, chunk, workspace_RV)[1]
        _scatter(outputs, chunk, kernels.row_stats(logits_RV, _take(target_N, chunk, logits_RV), temperature))
    logprob_N, entropy_N, lse_N = outputs
    return logprob_N, entropy_N, lse_N


def backward(
    dlogprob_N: Tensor | None,
    dentropy_N: Tensor | None,
    hidden_ND: Tensor,
    weight_VD: Tensor,
    target_N: Tensor,
    entropy_N: Tensor,
    lse_N: Tensor,
    temperature: float,
    bias_V: Tensor | None,
    chunk_bytes: int,
    needs: Needs,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of hidden, weight and bias (empty where not needed), from logits computed again."""
    head, kernels = Head(weight_VD, bias_V), _row_kernels(weight_VD)
    gradients = _Gradients(head, hidden_ND, needs, hidden_ND.dtype)
    workspace_RV = _workspace(head, chunk_bytes)
    dlogits_RV = head.dlogits_buffer(workspace_RV)
    for chunk in _chunks(target_N, len(workspace_RV)):
        hidden_RD, logits_RV = _logits(head, hidden_ND, chunk, workspace_RV)
        take = partial(_take, chunk=chunk, logits_RV=logits_RV)
        kernels.row_dlogits(
            logits_RV,
            take(target_N),
            take(lse_N),
            take(entropy_N),
            None if dlogprob_N is None else take(dlogprob_N),
            None if dentropy_N is None else take(dentropy_N),
            temperature,
            dlogits_RV[: len(logits_RV)],
        )
        gradients.add(chunk, dlogits_RV[: len(logits_RV)], hidden_RD)
    return gradients.hidden_ND, gradients.weight_VD, gradients.bias_V


def forward_kl(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    reference_hidden_ND: Tensor,
    reference_weight_VD: Tensor,
    target_N: Tensor,
    temperature: float,
    bias_V: Tensor | None,
    reference_bias_V: Tensor | None,
    chunk_bytes: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Log-prob, reference log-prob, entropy and KL(policy || reference) [N] (0 for ignored rows)."""
    head, reference_head = Head(weight_VD, bias_V), Head(reference_weight_VD, reference_bias_V)
    kernels = _row_kernels(weight_VD)
    outputs = [torch.zeros(len(target_N), dtype=head.sums, device=hidden_ND.device) for _ in range(4)]
    workspace_RV, reference_workspace_RV = _workspace(head, chunk_bytes), _workspace(reference_head, chunk_bytes)
    for chunk in _chunks(target_N, len(workspace_RV)):
        logits_RV = _logits(head, hidden_ND, chunk, workspace_RV)[1]
        reference_RV = _logits(reference_head, reference_hidden_ND, chunk, reference_workspace_RV)[1]
        target_R = _take(target_N, chunk, logits_RV)
        logprob_R, entropy_R, lse_R = kernels.row_stats(logits_RV, target_R, temperature)
        reference_logprob_R, _, reference_lse_R = kernels.row_stats(reference_RV, target_R, temperature)
        kl_R = kernels.row_kl(logits_RV, reference_RV, lse_R, reference_lse_R, target_R, temperature)
        _scatter(outputs, chunk, (logprob_R, reference_logprob_R, entropy_R, kl_R))
    logprob_N, reference_logprob_N, entropy_N, kl_N = outputs
    return logprob_N, reference_logprob_N, entropy_N, kl_N


def forward_ppo(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    target_N: Tensor,
    old_logprob_N: Tensor,
    advantage_N: Tensor,
    temperature: float,
    clip_range: float,
    entropy_coefficient: float,
    bias_V: Tensor | None,
    chunk_bytes: int,
    needs: Needs,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Log-prob and entropy [N], and the gradients of the loss summed over rows: three GEMMs a chunk."""
    head, kernels = Head(weight_VD, bias_V), _row_kernels(weight_VD)
    outputs = [torch.zeros(len(target_N), dtype=head.sums, device=hidden_ND.device) for _ in range(2)]
    gradients = _Gradients(head, hidden_ND, needs, saved_dtype(hidden_ND.dtype))
    workspace_RV = _workspace(head, chunk_bytes)
    dlogits_RV = head.dlogits_buffer(workspace_RV)
    for chunk in _chunks(target_N, len(workspace_RV)):
        hidden_RD, logits_RV = _logits(head, hidden_ND, chunk, workspace_RV)
        take = partial(_take, chunk=chunk, logits_RV=logits_RV)
        target_R = take(target_N)
        logprob_R, entropy_R, lse_R = kernels.row_stats(logits_RV, target_R, temperature)
        _scatter(outputs, chunk, (logprob_R, entropy_R))
        if needs == Needs(hidden=False, weight=False, bias=False):
            continue
        dlogprob_R = clipped_surrogate(logprob_R, take(old_logprob_N), take(advantage_N), clip_range).gradient
        dentropy_R = None if entropy_coefficient == 0 else torch.full_like(entropy_R, -entropy_coefficient)
        out_RV = dlogits_RV[: len(logits_RV)]
        kernels.row_dlogits(logits_RV, target_R, lse_R, entropy_R, dlogprob_R, dentropy_R, temperature, out_RV)
        gradients.add(chunk, out_RV, hidden_RD)
    logprob_N, entropy_N = outputs
    return logprob_N, entropy_N, gradients.hidden_ND, gradients.weight_VD, gradients.bias_V


def saved_dtype(dtype: torch.dtype) -> torch.dtype:
    """Of gradients kept until backward: fp16 would overflow before denominator and loss scale come in."""
    return torch.float32 if dtype == torch.float16 else dtype


def _row_kernels(weight_VD: Tensor) -> _RowKernels:
    if row_backend(weight_VD.device, weight_VD.dtype) == "torch":
        return rows
    from sandwiching.kernels.triton_ops import rows as triton_rows  # Triton need not be installed

    return triton_rows


def _workspace(head: Head, chunk_bytes: int) -> Tensor:
    V, device = len(head.weight_VD), head.weight_VD.device
    block = rows.BLOCK_ROWS[device.type]
    fitting = min((chunk_bytes or CHUNK_BYTES[device.type]) // (head.sums.itemsize * V), MOST_ROWS)
    return torch.empty(max(1, fitting // block) * block, V, dtype=head.sums, device=device)


def _chunks(target_N: Tensor, size: int) -> list[Rows]:
    """Leaving out ignored rows would make a GPU wait for their number."""
    if target_N.is_cuda:
        N = len(target_N)
        return [slice(start, min(start + size, N)) for start in range(0, N, size)]
    index_N = (target_N >= 0).nonzero().squeeze(1)
    return [index_R for index_R in index_N.split(size) if len(index_R)]


def _size(chunk: Rows) -> int:
    return chunk.stop - chunk.start if isinstance(chunk, slice) else len(chunk)


def _logits(head: Head, hidden_ND: Tensor, chunk: Rows, workspace_RV: Tensor) -> tuple[Tensor, Tensor]:
    """A chunk's hidden states as the GEMMs take them, and its logits, both padded to whole blocks of the row kernels.

    Padding is zeros. On a GPU the GEMM works on as many rows as the workspace has.
    """
    block, size = rows.BLOCK_ROWS[hidden_ND.device.type], _size(chunk)
    padded = -(-size // block) * block
    multiplied = len(workspace_RV) if hidden_ND.is_cuda else padded
    hidden_RD = head.operand(hidden_ND[chunk])
    if multiplied > size:
        hidden_RD = F.pad(hidden_RD, (0, 0, 0, multiplied - size))
    head.logits(hidden_RD, workspace_RV[:multiplied])
    return hidden_RD[:padded], workspace_RV[:padded]


def _take(x_N: Tensor, chunk: Rows, logits_RV: Tensor) -> Tensor:
    """The chunk's entries of a vector, padded like its logits; padding is ignored."""
    x_R, padding = x_N[chunk], len(logits_RV) - _size(chunk)
    return F.pad(x_R, (0, padding), value=0.0 if x_R.is_floating_point() else IGNORED) if padding else x_R


def _scatter(outputs: list[Tensor], chunk: Rows, values: tuple[Tensor, ...]) -> None:
    for output_N, value_R in zip(outputs, values, strict=True):
        output_N[chunk] = value_R[: _size(chunk)]
