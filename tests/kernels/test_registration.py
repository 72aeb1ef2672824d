"""What torch asks of a custom op, whether the ops can be compiled around, and how a backend is chosen."""

from __future__ import annotations

import logging

import pytest
import torch

from sandwiching.kernels import backends, ops
from sandwiching.kernels.head_ops import backward_op, forward_kl_op, forward_op, ppo_op
from sandwiching.kernels.returns_ops import token_returns_op, whiten_op


def head(dtype=torch.float32):
    torch.manual_seed(0)
    return torch.randn(5, 3).to(dtype), torch.randn(7, 3).to(dtype), torch.tensor([0, 6, -100, 3, 2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_opcheck(backend, dtype):
    hidden_ND, weight_VD, target_N = head(dtype)
    leaves = hidden_ND.requires_grad_(), weight_VD.requires_grad_()
    bias_V, vector_N = torch.randn(7, requires_grad=True), torch.randn(5)
    torch.library.opcheck(forward_op, (*leaves, target_N, 0.7, bias_V, 0))
    torch.library.opcheck(ppo_op, (*leaves, target_N, vector_N, vector_N, 0.7, 0.2, 0.01, bias_V, 0, True, True, True))
    plain = hidden_ND.detach(), weight_VD.detach()
    torch.library.opcheck(
        backward_op,
        (vector_N, None, *plain, target_N, vector_N, vector_N, 0.7, None, 0, True, False, False),
    )
    torch.library.opcheck(forward_kl_op, (*plain, *plain, target_N, 0.7, bias_V.detach(), None, 0))
    matrix_BT, mask_BT = torch.randn(2, 4), torch.tensor([[True] * 4, [True, False, False, False]])
    torch.library.opcheck(token_returns_op, (torch.randn(2), matrix_BT, matrix_BT, mask_BT, 0.05, 1.0, 0.95))
    torch.library.opcheck(whiten_op, (matrix_BT, mask_BT, torch.tensor([5.0, 0, 1]).double(), True))


def test_a_caller_compiles_whole(backend):
    hidden_ND, weight_VD, target_N = head()
    vector_N, mask_N = torch.randn(5), target_N >= 0

    def caller(hidden_ND, weight_VD):
        logprob_N, entropy_N = ops.linear_logprob(hidden_ND * 2, weight_VD, target_N, 0.7)
        loss, statistics = ops.ppo_linear_loss(
            hidden_ND * 2, weight_VD, target_N, vector_N, vector_N, mask_N, 0.7, 0.2, 0.01, mask_N.sum()
        )
        kl_N = ops.linear_logprob_kl(hidden_ND, weight_VD, -hidden_ND, weight_VD, target_N)[3]
        return loss + (logprob_N + 0.1 * entropy_N).sum() + kl_N.sum(), statistics.ratio

    found = []
    for function in (caller, torch.compile(caller, fullgraph=True, backend="aot_eager")):
        leaves = [x.clone().requires_grad_() for x in (hidden_ND, weight_VD)]
        loss, ratio = function(*leaves)
        loss.backward()
        found.append((loss.detach(), ratio, *(x.grad for x in leaves)))
    assert all(torch.allclose(x, y, rtol=1e-5, atol=1e-6) for x, y in zip(*found, strict=True))


def test_a_backend_is_named_checked_and_logged_once(monkeypatch, caplog):
    cpu = torch.device("cpu")
    assert backends.row_backend(cpu, torch.float32) == "torch"
    with pytest.raises(ValueError, match="kernels=cutlass: must be one of auto, torch, triton, cuda, reference"):
        backends.use_backend("cutlass")
    monkeypatch.setenv(backends.ENVIRONMENT, "numpy")
    with pytest.raises(ValueError, match="SANDWICHING_KERNELS=numpy: must be one of"):
        ops.linear_logprob(*head())
    monkeypatch.setenv(backends.ENVIRONMENT, "torch")
    backends._log_once.cache_clear()
    with caplog.at_level(logging.INFO, backends.__name__):
        ops.linear_logprob(*head())
        ops.linear_logprob(*head())
    assert [record.getMessage() for record in caplog.records] == ["kernels: rows of logits on cpu run in torch"]


def test_a_forced_backend_that_cannot_run_says_so(monkeypatch):
    monkeypatch.setattr(backends, "has_triton", lambda: False)
    backends._check.cache_clear()
    with pytest.raises(ValueError, match="kernels=triton: Triton is not installed"):
        backends.use_backend("triton")
    monkeypatch.setattr(backends, "has_triton", lambda: True)
    backends.use_backend("triton")
    with pytest.raises(ValueError, match="compute in fp32, got fp64"):
        ops.linear_logprob(*head(torch.float64))
    monkeypatch.delenv("TRITON_INTERPRET")
    with pytest.raises(ValueError, match="'triton' needs a GPU, got tensors on cpu"):
        ops.linear_logprob(*head())
    monkeypatch.setattr(backends, "CUDA_LIBRARY", backends.CUDA_LIBRARY.with_name("missing.so"))
    with pytest.raises(ValueError, match=r"missing\.so is missing; run `python setup\.py build_kernels`"):
        backends.use_backend("cuda")
    backends._check.cache_clear()
