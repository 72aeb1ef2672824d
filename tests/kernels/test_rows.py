"""The row kernels by themselves: what no linear layer gives them, and outputs that hold NaN before the launch."""

# pyright: reportOperatorIssue=false
from __future__ import annotations

import os

import pytest
import torch

from sandwiching.kernels import reference, rows


@pytest.fixture
def kernels(backend: str):
    """rows.py, and its twin in Triton."""
    if backend == "torch":
        return rows
    from sandwiching.kernels.triton_ops import rows as triton_rows

    return triton_rows


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """New tensors are full of NaN."""
    empty, empty_like, new_empty = torch.empty, torch.empty_like, torch.Tensor.new_empty

    def poison(make):
        def made(*arguments, **options):
            x = make(*arguments, **options)
            return x.fill_(torch.nan) if x.is_floating_point() else x

        return made

    monkeypatch.setattr(torch, "empty", poison(empty))
    monkeypatch.setattr(torch, "empty_like", poison(empty_like))
    monkeypatch.setattr(torch.Tensor, "new_empty", poison(new_empty))


@pytest.mark.parametrize("V", [1, 2, 1300, 4095, 4097])
def test_all_outputs_are_written(kernels, poisoned, V):
    torch.manual_seed(0)
    logits_RV, target_R = 6 * torch.randn(3, V) - 8, torch.tensor([V - 1, -100, 0])
    logprob_R, entropy_R, lse_R = kernels.row_stats(logits_RV, target_R, 0.7)
    double_RV = logits_RV.double().requires_grad_()
    right = reference.logprob_and_entropy((double_RV / 0.7).log_softmax(-1), target_R)
    (2 * right[0] - 3 * right[1]).sum().backward()
    out_RV = torch.empty(3, V)
    kernels.row_dlogits(
        logits_RV, target_R, lse_R, entropy_R, torch.full((3,), 2.0), torch.full((3,), -3.0), 0.7, out_RV
    )
    kl_R = kernels.row_kl(logits_RV, logits_RV + 1, lse_R, lse_R + 1 / 0.7, target_R, 0.7)
    for x, y in zip((logprob_R, entropy_R, out_RV), (*right, double_RV.grad), strict=True):
        assert (x - y).abs().max() < 1e-4
    assert (lse_R - (double_RV / 0.7).logsumexp(-1)).abs().max() < 1e-4
    assert kl_R.abs().max() < 1e-4


def test_logits_of_minus_infinity(kernels):
    """Masked tokens count for nothing; a row without any token is NaN, as in torch."""
    torch.manual_seed(0)
    logits_RV = torch.randn(4, 5000)
    logits_RV[0, :4500] = -torch.inf
    logits_RV[1, 200:] = -torch.inf
    logits_RV[2] = -torch.inf
    logits_RV[3, 7] = torch.nan
    target_R = torch.tensor([4999, 3, 5, 9])
    logprob_R, entropy_R, lse_R = kernels.row_stats(logits_RV, target_R, 1.0)
    right = reference.logprob_and_entropy(logits_RV[:2].double().log_softmax(-1), target_R[:2])
    assert (logprob_R[:2] - right[0]).abs().max() < 1e-5
    assert (entropy_R[:2] - right[1]).abs().max() < 1e-5
    assert logprob_R[2:].isnan().all()
    assert entropy_R[2:].isnan().all()
    ones_R, out_RV = torch.ones(4), torch.empty_like(logits_RV)
    kernels.row_dlogits(logits_RV, target_R, lse_R, entropy_R, ones_R, ones_R, 1.0, out_RV)
    assert out_RV[:2].isfinite().all()
    assert not out_RV[0, :4500].any()
    reference_RV = logits_RV.nan_to_num(neginf=0.0)
    finite_R = reference_RV.logsumexp(-1)
    assert kernels.row_kl(logits_RV, reference_RV, lse_R, finite_R, target_R, 1.0)[:2].isfinite().all()
    assert kernels.row_kl(reference_RV, logits_RV, finite_R, lse_R, target_R, 1.0)[0] == torch.inf


def test_half_precision_gradients(kernels):
    logits_RV, target_R = torch.randn(3, 63), torch.tensor([0, 62, -100])
    _, entropy_R, lse_R = kernels.row_stats(logits_RV, target_R, 1.0)
    exact_RV, half_RV = torch.empty(3, 63), torch.empty(3, 63, dtype=torch.bfloat16)
    for out_RV in (exact_RV, half_RV):
        kernels.row_dlogits(logits_RV, target_R, lse_R, entropy_R, torch.ones(3), None, 1.0, out_RV)
    # One unit in the last place: Triton's interpreter truncates where a GPU rounds.
    assert (half_RV.float() - exact_RV).abs().le(exact_RV.abs() * 2**-7).all()


def test_rows_further_apart_than_int32(kernels):
    """A wrong offset crashes the process, so on CPU a child runs it; CUDA does not work in a forked one."""
    if torch.get_default_device().type == "cuda":
        assert right_on_far_rows(kernels)
        return
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        code = 1
        try:
            code = 0 if right_on_far_rows(kernels) else 1
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


def right_on_far_rows(kernels) -> bool:
    """3 rows of logits that span more than 2^32 elements, in memory that is never touched between them."""
    stride, V = 2**31 + 7, 64
    logits_RV = torch.empty(2 * stride + V).as_strided((3, V), (stride, 1))
    logits_RV.copy_(torch.randn(3, V))
    target_R = torch.tensor([1, 2, 3])
    right_R = logits_RV.contiguous().log_softmax(-1).gather(1, target_R[:, None]).squeeze(1)
    logprob_R, entropy_R, lse_R = kernels.row_stats(logits_RV, target_R, 1.0)
    kl_R = kernels.row_kl(logits_RV, logits_RV, lse_R, lse_R, target_R, 1.0)
    kernels.row_dlogits(logits_RV, target_R, lse_R, entropy_R, torch.ones(3), None, 1.0, logits_RV)
    close = (logprob_R - right_R).abs().max() < 1e-5 and logits_RV.sum(1).abs().max() < 1e-5
    return bool(close) and not kl_R.any()
