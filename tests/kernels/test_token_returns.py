# pyright: reportCallIssue=false
from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandwiching.kernels import reference
from sandwiching.kernels.backends import CUDA_LIBRARY, has_triton, use_backend
from sandwiching.kernels.ops import token_returns, whiten
from sandwiching.kernels.returns import merge_rows

needs_triton = pytest.mark.skipif(not has_triton(), reason="Triton is not installed")
needs_library = pytest.mark.skipif(not CUDA_LIBRARY.exists(), reason="python setup.py build_kernels was not run")


PLACES = [
    pytest.param(("torch", "cpu"), id="torch"),
    pytest.param(("triton", "cpu"), id="triton", marks=needs_triton),
    pytest.param(("cuda", "cpu"), id="cuda", marks=needs_library),
    *(pytest.param((name, "cuda"), id=f"{name}-on-gpu", marks=pytest.mark.gpu) for name in ("torch", "triton", "cuda")),
]


@pytest.fixture(params=PLACES)
def returns_backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every backend of token_returns on each device; on CPU the CUDA library runs a loop."""
    name, device = request.param
    use_backend(name)
    torch.set_default_device(device)
    yield name
    torch.set_default_device(None)


def batch(lengths, T, seed=0, scale=1.0):
    """score, kl, values and mask of responses of these lengths, with NaN behind them."""
    torch.manual_seed(seed)
    B = len(lengths)
    mask_BT = torch.arange(T) < torch.tensor(lengths)[:, None]
    kl_BT, values_BT = (scale * torch.randn(B, T) for _ in range(2))
    kl_BT[~mask_BT], values_BT[~mask_BT] = torch.nan, torch.nan
    return scale * torch.randn(B), kl_BT, values_BT, mask_BT


def double(arguments):
    """For the reference, whose loop over tokens is slow on a GPU."""
    return tuple(x.double().cpu() if x.is_floating_point() else x.cpu() for x in arguments)


def agree(found, right, scale=1.0):
    for x, y in zip(found, right, strict=True):
        assert x.dtype in (torch.float32, torch.float64)
        assert (x.double().cpu() - y.double().cpu()).abs().max() <= 2e-5 * scale * (1 + y.abs().max())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(0, 20), min_size=1, max_size=3),
    extra=st.integers(0, 2),
    kl_coefficient=st.floats(0, 2),
    gamma=st.floats(0, 1),
    lam=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_any_batch_agrees_with_the_loop(returns_backend, lengths, extra, kl_coefficient, gamma, lam, seed):
    arguments = batch(lengths, max(1, max(lengths) + extra), seed)
    found = token_returns(*arguments, kl_coefficient, gamma, lam)
    agree(found, reference.token_returns(*double(arguments), kl_coefficient, gamma, lam))
    assert found[0].sum(1).tolist() == pytest.approx(
        [
            float(score) - kl_coefficient * float(kl_T.where(mask_T, 0.0).sum()) if mask_T.any() else 0.0
            for score, kl_T, mask_T in zip(*(arguments[i] for i in (0, 1, 3)), strict=True)
        ],
        abs=1e-4,
    )


@pytest.mark.parametrize("lengths", [(600, 1, 0, 256, 257, 255, 31, 32, 33), (0, 0)])
def test_long_rows(returns_backend, lengths):
    arguments = batch(lengths, 600)
    expected = reference.token_returns(*double(arguments), 0.05, 0.99, 0.95)
    found = token_returns(*arguments, 0.05, 0.99, 0.95)
    agree(found, expected)
    for shift_mean in (True, False):
        white_BT = whiten(found[1], arguments[3], found[3], shift_mean)
        agree([white_BT], [reference.whiten(expected[1], arguments[3].cpu(), expected[3], shift_mean)])


def test_statistics_of_advantages_far_from_zero(returns_backend):
    """A sum of squares minus a squared sum would lose all digits here."""
    score_B, kl_BT, values_BT, mask_BT = batch((300, 290, 5), 300)
    statistics = token_returns(score_B, kl_BT, values_BT + 1000.0, mask_BT, 0.0, 0.0, 0.0)[3]
    right = reference.token_returns(*double((score_B, kl_BT, values_BT + 1000.0, mask_BT)), 0.0, 0.0, 0.0)[3]
    assert statistics[2].item() == pytest.approx(right[2].item(), rel=1e-3)


def test_shares_of_a_batch_merge_and_two_runs_give_the_same_bits(returns_backend):
    arguments = batch((40, 7, 0, 33), 40)
    whole, again = (token_returns(*arguments, 0.05, 1.0, 0.95) for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(whole, again, strict=True))
    parts = [token_returns(*(x[rows] for x in arguments), 0.05, 1.0, 0.95) for rows in (slice(0, 1), slice(1, 4))]
    assert torch.equal(torch.cat([part[1] for part in parts]), whole[1])
    agree([merge_rows(torch.stack([part[3] for part in parts]))], [whole[3]])


def test_views_and_empty_batches(returns_backend):
    score_B, kl_BT, values_BT, mask_BT = batch((9, 4), 9)
    columns = (x.T.contiguous().T for x in (kl_BT, values_BT, mask_BT))
    assert torch.equal(
        token_returns(score_B, *columns, 0.05, 1.0, 0.95)[1],
        token_returns(score_B, kl_BT, values_BT, mask_BT, 0.05, 1.0, 0.95)[1],
    )
    empty = token_returns(score_B[:0], kl_BT[:0], values_BT[:0], mask_BT[:0], 0.05, 1.0, 0.95)
    assert [list(x.shape) for x in empty] == [[0, 9], [0, 9], [0, 9], [3]]
    assert whiten(empty[1], mask_BT[:0], empty[3]).shape == (0, 9)


def test_bad_input_gets_one_message():
    score_B, kl_BT, values_BT, mask_BT = batch((9, 4), 9)
    with pytest.raises(ValueError, match=r"kl must have shape \[B, T\] = \[2, 9\], got \[2, 8\]"):
        token_returns(score_B, kl_BT[:, 1:], values_BT, mask_BT, 0.05, 1.0, 0.95)
    with pytest.raises(ValueError, match="mask must be bool"):
        token_returns(score_B, kl_BT, values_BT, mask_BT.float(), 0.05, 1.0, 0.95)
    with pytest.raises(ValueError, match=r"score must have shape \[2\], got \[1\]"):
        token_returns(score_B[:1], kl_BT, values_BT, mask_BT, 0.05, 1.0, 0.95)
    with pytest.raises(ValueError, match=r"statistics must be \[count, mean, m2\]"):
        whiten(kl_BT, mask_BT, torch.zeros(2))
