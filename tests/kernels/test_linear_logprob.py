# pyright: reportCallIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sandwiching.kernels import reference
from sandwiching.kernels.ops import linear_logprob, linear_logprob_kl

GRADIENT_LIMIT = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 1e-2}
SMALL = 4 * 16 * 1300
"""Workspace of 16 rows at V = 1300: several chunks, the last one padded."""


def relative(x: Tensor, oracle: Tensor) -> float:
    return float((x.double() - oracle).norm() / oracle.norm())


def leaves(*tensors: Tensor, dtype: torch.dtype | None = None) -> list[Tensor]:
    return [x.detach().to(dtype or x.dtype).clone().requires_grad_() for x in tensors]


def gradients(function, hidden_ND: Tensor, weight_VD: Tensor, target_N: Tensor, temperature: float, **options):
    """Outputs, and gradients of a sum weighted at random (equal weights for all functions)."""
    logprob_N, entropy_N = function(hidden_ND, weight_VD, target_N, temperature, **options)
    torch.manual_seed(1)
    weights = torch.randn(2, len(target_N), dtype=torch.float64).to(logprob_N.dtype)
    (weights[0] * logprob_N + weights[1] * entropy_N).sum().backward()
    return logprob_N.detach(), entropy_N.detach(), hidden_ND.grad, weight_VD.grad


def autocast_linear_logprob(hidden_ND: Tensor, weight_VD: Tensor, target_N: Tensor, temperature: float):
    """Logits in half precision, all that follows in fp32."""
    logprobs_NV = ((hidden_ND @ weight_VD.T).float() / temperature).log_softmax(-1)
    return reference.logprob_and_entropy(logprobs_NV, target_N)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("N", "V", "std", "mean", "temperature"),
    [(63, 63, 6, -8, 1.0), (20, 1300, 1, 0, 0.3), (17, 1300, 6, -100, 2.0), (5, 1, 1, 0, 1.0), (3, 49153, 6, -8, 0.7)],
)
def test_as_close_to_fp64_as_asked_and_never_worse_than_torch(backend, head_case, N, V, std, mean, temperature, dtype):
    hidden_ND, weight_VD, target_N = head_case(N, 24, V, dtype, std, mean)
    ours = gradients(linear_logprob, *leaves(hidden_ND, weight_VD), target_N, temperature, chunk_bytes=SMALL)
    double = leaves(hidden_ND, weight_VD, dtype=torch.float64)
    oracle = gradients(reference.linear_logprob, *double, target_N, temperature)
    # A GPU multiplies gradients of logits in half precision, as plain torch does under autocast.
    halves_gradients = hidden_ND.is_cuda and dtype != torch.float32
    torch_has = autocast_linear_logprob if halves_gradients else reference.linear_logprob
    plain = gradients(torch_has, *leaves(hidden_ND, weight_VD), target_N, temperature)
    slack = 1e-5 * (1 + abs(mean) / temperature / 8)
    for x, right, other in zip(ours[:2], oracle[:2], plain[:2], strict=True):
        assert x.dtype == torch.float32
        error = (x.double() - right).abs().max()
        assert error <= 1e-4
        assert error <= (other.double() - right).abs().max() + slack
    for x, right, other in zip(ours[2:], oracle[2:], plain[2:], strict=True):
        assert x.dtype == dtype
        if V == 1:
            assert x.abs().max() <= 1e-5
        else:
            # At -100 the rounding of fp32 logits alone gives 2e-5, and that of half-precision gradients of logits 2e-2.
            limit = (3e-2 if halves_gradients else 1e-4) if mean == -100 else GRADIENT_LIMIT[dtype]
            assert relative(x, right) <= max(limit, GRADIENT_LIMIT[dtype])
            assert relative(x, right) <= 1.2 * relative(other, right) + slack


def test_gradients_of_the_log_prob_alone_and_of_the_entropy_alone(backend, head_case):
    hidden_ND, weight_VD, target_N = head_case(20, 24, 63)
    for output in (0, 1):
        ours, oracle = leaves(hidden_ND, weight_VD), leaves(hidden_ND, weight_VD, dtype=torch.float64)
        linear_logprob(*ours, target_N)[output].sum().backward()
        reference.linear_logprob(*oracle, target_N)[output].sum().backward()
        assert all(relative(x.grad, right.grad) < 1e-5 for x, right in zip(ours, oracle, strict=True))


def test_bias_and_its_gradient(backend, head_case):
    hidden_ND, weight_VD, target_N = head_case(20, 24, 63)
    bias_V = torch.linspace(-3, 3, 63)
    bias_V[7] = -torch.inf  # a token that is never sampled
    target_N[target_N == 7] = 8
    ours, oracle = leaves(hidden_ND, weight_VD, bias_V), leaves(hidden_ND, weight_VD, bias_V, dtype=torch.float64)
    for function, (hidden, weight, bias) in ((linear_logprob, ours), (reference.linear_logprob, oracle)):
        logprob_N, entropy_N = function(hidden, weight, target_N, 0.7, bias)
        (logprob_N + 2 * entropy_N).sum().backward()
    assert all(relative(x.grad, right.grad) < 1e-5 for x, right in zip(ours, oracle, strict=True))


@pytest.mark.parametrize("N", [0, 5])
def test_without_rows_to_score_all_is_zero(backend, head_case, N):
    hidden_ND, weight_VD, target_N = head_case(N, 24, 63)
    hidden_ND, weight_VD = leaves(hidden_ND, weight_VD)
    logprob_N, entropy_N = linear_logprob(hidden_ND, weight_VD, torch.full_like(target_N, -100))
    (logprob_N.sum() + entropy_N.sum()).backward()
    assert not any(x.any() for x in (logprob_N, entropy_N, hidden_ND.grad, weight_VD.grad))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_has_the_same_bits_in_every_batch(backend, head_case, dtype):
    hidden_ND, weight_VD, target_N = head_case(70, 24, 1300, dtype)
    whole = linear_logprob(hidden_ND, weight_VD, target_N, chunk_bytes=4 * SMALL)
    again = linear_logprob(hidden_ND, weight_VD, target_N, chunk_bytes=4 * SMALL)
    order = torch.randperm(70)
    shuffled = linear_logprob(hidden_ND[order], weight_VD, target_N[order], chunk_bytes=4 * SMALL)
    alone = linear_logprob(hidden_ND[9:10], weight_VD, target_N[9:10], chunk_bytes=4 * SMALL)
    scored = linear_logprob_kl(hidden_ND, weight_VD, hidden_ND, weight_VD, target_N, chunk_bytes=4 * SMALL)
    for x, y, z, one, kl in zip(whole, again, shuffled, alone, (scored[0], scored[2]), strict=True):
        assert torch.equal(x, y)
        assert torch.equal(x[order], z)
        assert torch.equal(x[9:10], one)
        assert torch.equal(x, kl)
    assert not scored[3].any()


def test_gradients_have_the_same_bits_twice(backend, head_case):
    hidden_ND, weight_VD, target_N = head_case(40, 24, 1300, torch.bfloat16)
    first = gradients(linear_logprob, *leaves(hidden_ND, weight_VD), target_N, 1.0, chunk_bytes=SMALL)
    second = gradients(linear_logprob, *leaves(hidden_ND, weight_VD), target_N, 1.0, chunk_bytes=SMALL)
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))


def test_frozen_weights_get_no_gradient_and_views_are_fine(backend, head_case):
    hidden_ND, weight_VD, target_N = head_case(40, 24, 63)
    leaf = hidden_ND.repeat(1, 2).requires_grad_()
    linear_logprob(leaf[::2, :24], weight_VD, target_N[::2])[0].sum().backward()
    double = hidden_ND.double().requires_grad_()
    reference.linear_logprob(double[::2], weight_VD.double(), target_N[::2])[0].sum().backward()
    assert weight_VD.grad is None
    assert relative(leaf.grad[:, :24], double.grad) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_exact_kl(backend, head_case, dtype):
    hidden_ND, weight_VD, target_N = head_case(35, 24, 1300, dtype)
    other_ND, other_VD, _ = head_case(35, 16, 1300, dtype, seed=1)
    biases = torch.randn(2, len(weight_VD))
    ours = linear_logprob_kl(hidden_ND, weight_VD, other_ND, other_VD, target_N, 0.7, *biases, chunk_bytes=SMALL)
    double = (x.double() for x in (hidden_ND, weight_VD, other_ND, other_VD))
    oracle = reference.linear_logprob_kl(*double, target_N, 0.7, *biases.double())
    assert all((x.double() - right).abs().max() < 1e-4 for x, right in zip(ours, oracle, strict=True))
    assert not any(x.requires_grad for x in ours)


def test_the_references_pass_gradcheck_and_so_do_the_chunks():
    hidden_ND, weight_VD, bias_V = (torch.randn(*shape, dtype=torch.float64) for shape in ((5, 3), (7, 3), (7,)))
    target_N = torch.tensor([0, 6, -100, 3, 2])
    for function in (reference.linear_logprob, linear_logprob):
        arguments = leaves(hidden_ND, weight_VD, bias_V)
        assert torch.autograd.gradcheck(lambda h, w, b, f=function: f(h, w, target_N, 0.7, b), arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight_VD": torch.empty(0)}, "ZeRO-3"),
        ({"weight_VD": torch.zeros(7, 4)}, r"hidden must be \[N, D\] and weight \[V, D\], got \[5, 3\] and \[7, 4\]"),
        ({"target_N": torch.zeros(4, dtype=torch.int64)}, r"target must be int64 of shape \[5\]"),
        ({"target_N": torch.zeros(5)}, "target must be int64"),
        ({"target_N": torch.tensor([0, 1, 2, 7, -100])}, "target 7 is outside the vocabulary of 7"),
        ({"temperature": 0.0}, r"temperature=0\.0 must be above 0"),
    ],
)
def test_bad_input_gets_one_message(change, message):
    arguments = {"hidden_ND": torch.zeros(5, 3), "weight_VD": torch.zeros(7, 3), "target_N": torch.arange(5)}
    with pytest.raises(ValueError, match=message):
        linear_logprob(**{**arguments, **change})
    with pytest.raises(ValueError, match="must agree in vocabulary and dtype"):
        linear_logprob_kl(torch.zeros(5, 3), torch.zeros(7, 3), torch.zeros(5, 3), torch.zeros(8, 3), torch.arange(5))
