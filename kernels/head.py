"""The three GEMMs of a vocabulary head, with sums in fp32 (fp64 for fp64 weights), into buffers that are reused.

Half-precision weights: on a GPU the operands stay as they are and cuBLAS writes fp32; on CPU they are upcast, which
loses nothing, and oneDNN multiplies bf16 as bf16 with fp32 sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

HALF = (torch.bfloat16, torch.float16)


class Head:
    """weight [V, D], bias [V] or None."""

    def __init__(self, weight_VD: Tensor, bias_V: Tensor | None = None) -> None:
        self.sums = torch.promote_types(weight_VD.dtype, torch.float32)
        self.is_cuda_half = weight_VD.is_cuda and weight_VD.dtype in HALF
        self.weight_VD = weight_VD if weight_VD.is_cuda else weight_VD.to(self.sums)
        self.bias_V = None if bias_V is None else bias_V.to(self.sums)
        self.multiplies_bf16 = not weight_VD.is_cuda and weight_VD.dtype == torch.bfloat16
        self.input_dtype = weight_VD.dtype

    def operand(self, hidden_RD: Tensor) -> Tensor:
        """Hidden states rounded to the weight's dtype, as the GEMMs take them."""
        return hidden_RD.to(self.input_dtype).to(self.weight_VD.dtype)

    def logits(self, hidden_RD: Tensor, out_RV: Tensor) -> None:
        """hidden @ weight.T + bias."""
        with self._products():
            if self.is_cuda_half:
                torch.mm(hidden_RD, self.weight_VD.t(), out_dtype=self.sums, out=out_RV)
            else:
                torch.mm(hidden_RD, self.weight_VD.t(), out=out_RV)
        if self.bias_V is not None:
            out_RV.add_(self.bias_V)

    def dlogits_buffer(self, logits_RV: Tensor) -> Tensor:
        """Where gradients of logits go: into the logits themselves, or a copy in the dtype that the GPU multiplies."""
        return torch.empty_like(logits_RV, dtype=self.input_dtype) if self.is_cuda_half else logits_RV

    def dhidden(self, dlogits_RV: Tensor) -> Tensor:
        """dlogits @ weight, with fp32 sums in fp32: a half-precision GEMM may round what its parts sum to."""
        with self._products():
            if self.is_cuda_half:
                return torch.mm(dlogits_RV, self.weight_VD, out_dtype=self.sums)
            return torch.mm(dlogits_RV, self.weight_VD)

    def add_dweight(self, dweight_VD: Tensor, dlogits_RV: Tensor, hidden_RD: Tensor) -> None:
        """dweight += dlogits.T @ hidden, dweight in fp32."""
        with self._products():
            if self.is_cuda_half:
                torch.addmm(dweight_VD, dlogits_RV.t(), hidden_RD, out_dtype=self.sums, out=dweight_VD)
            else:
                dweight_VD.addmm_(dlogits_RV.t(), hidden_RD)

    def _products(self) -> AbstractContextManager[None]:
        return bf16_products() if self.multiplies_bf16 else nullcontext()


@contextmanager
def bf16_products() -> Iterator[None]:
    """Inside, oneDNN multiplies fp32 operands as bf16 with fp32 sums: exact for what was upcast from bf16."""
    matmul = torch.backends.mkldnn.matmul  # pyright: ignore[reportAttributeAccessIssue]
    before = matmul.fp32_precision
    matmul.fp32_precision = "bf16"
    try:
        yield
    finally:
        matmul.fp32_precision = before
