# pyright: reportCallIssue=false, reportArgumentType=false
from __future__ import annotations

import pytest
import torch

from sandwiching.kernels import reference
from sandwiching.kernels.ops import linear_logprob, ppo_linear_loss

SETTINGS = {"temperature": 0.7, "clip_range": 0.2, "entropy_coefficient": 0.01}
SMALL = 4 * 16 * 1300


@pytest.fixture
def step(head_case):
    """hidden, weight, target, old log-probs off by up to many clip ranges, advantages and mask; NaN where masked."""

    def make(dtype=torch.float32, N=63, V=1300):
        hidden_ND, weight_VD, target_N = head_case(N, 24, V, dtype)
        torch.manual_seed(2)
        old_N = linear_logprob(hidden_ND, weight_VD, target_N, 0.7)[0] + 0.3 * torch.randn(N)
        advantage_N = torch.randn(N)
        mask_N = (torch.rand(N) > 0.3) & (target_N >= 0)
        old_N[5:7] += torch.tensor([30.0, -30.0])  # beyond the clamp of the log-ratio
        advantage_N[5:7], mask_N[5:7] = 1.0, True
        return hidden_ND, weight_VD, target_N, old_N, advantage_N, mask_N

    return make


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2), (torch.float16, 1e-2)])
def test_loss_statistics_and_gradients_are_those_of_the_reference(backend, step, dtype, limit):
    hidden_ND, weight_VD, target_N, old_N, advantage_N, mask_N = step(dtype)
    denominator = mask_N.sum()
    ours = [x.clone().requires_grad_() for x in (hidden_ND, weight_VD)]
    garbage_N = torch.where(mask_N, 0.0, torch.nan)
    loss, statistics = ppo_linear_loss(
        *ours,
        target_N,
        old_N + garbage_N,
        advantage_N + garbage_N,
        mask_N,
        **SETTINGS,
        denominator=denominator,
        chunk_bytes=SMALL,
    )
    (3 * loss).backward()
    oracle = [x.double().requires_grad_() for x in (hidden_ND, weight_VD)]
    right, expected = reference.ppo_linear_loss(
        *oracle, target_N, old_N.double(), advantage_N.double(), mask_N, **SETTINGS, denominator=denominator
    )
    (3 * right).backward()
    assert abs(loss.item() - right.item()) < 1e-5
    for name, value in expected.items():
        assert getattr(statistics, name).item() == pytest.approx(value.item(), rel=1e-4), name
    for x, y in zip(ours, oracle, strict=True):
        assert x.grad.dtype == dtype
        assert (x.grad.double() - y.grad).norm() <= limit * y.grad.norm()


def test_the_ratio_of_an_unchanged_policy_is_exactly_1(backend, step):
    hidden_ND, weight_VD, target_N, _, advantage_N, mask_N = step(torch.bfloat16)
    weight_VD.requires_grad_()
    old_N, _ = linear_logprob(hidden_ND, weight_VD, target_N, 0.7)
    for rows in (slice(0, 63), slice(10, 29)):
        arguments = (x[rows] for x in (target_N, old_N, advantage_N, mask_N))
        _, statistics = ppo_linear_loss(hidden_ND[rows], weight_VD, *arguments, **SETTINGS, denominator=1.0)
        assert statistics.approx_kl == 0
        assert statistics.ratio == mask_N[rows].sum()


def test_micro_batches_add_up(backend, step):
    hidden_ND, weight_VD, target_N, old_N, advantage_N, mask_N = step()
    gradients = []
    for size in (63, 20):
        leaf = weight_VD.clone().requires_grad_()
        for part in zip(*(x.split(size) for x in (target_N, old_N, advantage_N, mask_N, hidden_ND)), strict=True):
            ppo_linear_loss(part[-1], leaf, *part[:-1], **SETTINGS, denominator=mask_N.sum())[0].backward()
        gradients.append(leaf.grad)
    assert (gradients[0] - gradients[1]).norm() <= 1e-6 * gradients[0].norm()


@pytest.mark.parametrize("case", ["frozen weight", "frozen trunk", "no gradient", "all masked", "no rows"])
def test_only_the_gradients_that_are_needed(backend, step, case):
    hidden_ND, weight_VD, *rest = step()
    if case == "no rows":
        hidden_ND, rest = hidden_ND[:0], [x[:0] for x in rest]
    if case == "all masked":
        rest[-1] = torch.zeros_like(rest[-1])
    hidden_ND.requires_grad_(case != "frozen trunk")
    weight_VD.requires_grad_(case != "frozen weight")
    with torch.set_grad_enabled(case != "no gradient"):
        loss, _ = ppo_linear_loss(hidden_ND, weight_VD, *rest, **SETTINGS, denominator=10.0)
    assert loss.requires_grad == (case != "no gradient")
    if case != "no gradient":
        loss.backward()
    assert (hidden_ND.grad is None) == (case in ("frozen trunk", "no gradient"))
    assert (weight_VD.grad is None) == (case in ("frozen weight", "no gradient"))
    if case in ("all masked", "no rows"):
        assert loss == 0
        assert not weight_VD.grad.any()


def test_fp16_gradients_survive_a_large_sum(step):
    """Summed gradients of many equal tokens are above fp16's largest number until the denominator divides them."""
    hidden_ND, weight_VD, *_ = step(torch.float16, N=8, V=63)
    N = 4096
    hidden_ND = hidden_ND[:1].repeat(N, 1).requires_grad_()
    weight_VD.requires_grad_()
    target_N, old_N, mask_N = torch.full((N,), 5), torch.full((N,), -20.0), torch.ones(N, dtype=torch.bool)
    old_N = linear_logprob(hidden_ND, weight_VD, target_N)[0].detach()
    advantage_N = torch.full((N,), 100.0)
    loss, _ = ppo_linear_loss(hidden_ND, weight_VD, target_N, old_N, advantage_N, mask_N, 1.0, 0.2, 0.0, float(N))
    loss.backward()
    assert weight_VD.grad.isfinite().all()
    assert weight_VD.grad.abs().max() > 10


def test_gradcheck_of_reference_and_op():
    torch.manual_seed(0)
    hidden_ND, weight_VD = torch.randn(6, 3, dtype=torch.float64), torch.randn(7, 3, dtype=torch.float64)
    target_N, mask_N = torch.tensor([0, 6, 1, 3, 2, 2]), torch.tensor([True, True, False, True, True, True])
    old_N, advantage_N = torch.randn(6).double() - 2, torch.randn(6).double()
    rest = (target_N, old_N, advantage_N, mask_N, 0.7, 0.2, 0.05, 5.0)
    leaves = [hidden_ND.requires_grad_(), weight_VD.requires_grad_()]
    assert torch.autograd.gradcheck(lambda h, w: reference.ppo_linear_loss(h, w, *rest)[0], leaves)
    assert torch.autograd.gradcheck(lambda h, w: ppo_linear_loss(h, w, *rest)[0], leaves)


def test_bad_vectors_get_one_message(step):
    hidden_ND, weight_VD, target_N, old_N, advantage_N, mask_N = step()
    with pytest.raises(ValueError, match=r"advantage must have shape \[63\], got \[62\]"):
        ppo_linear_loss(hidden_ND, weight_VD, target_N, old_N, advantage_N[1:], mask_N, **SETTINGS, denominator=1.0)
    with pytest.raises(ValueError, match=r"mask must be bool, got torch\.float32"):
        ppo_linear_loss(hidden_ND, weight_VD, target_N, old_N, advantage_N, mask_N.float(), **SETTINGS, denominator=1.0)
