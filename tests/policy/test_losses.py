"""Against loops in fp64."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sandwiching.policy.losses import MISSING_EOS, clipped_policy_loss, clipped_value_loss

T = 5
lengths = st.lists(st.integers(0, T), min_size=1, max_size=6)
seeds = st.integers(0, 10_000)


def columns(lengths_B: list[int], seed: int, scale: float, n: int) -> tuple[Tensor, list[Tensor]]:
    """Mask, and n tensors [B, T] in fp64 that are NaN where masked."""
    mask_BT = torch.arange(T)[None] < torch.tensor(lengths_B)[:, None]
    generator = torch.Generator().manual_seed(seed)
    tensors = [torch.randn(len(lengths_B), T, generator=generator, dtype=torch.float64) * scale for _ in range(n)]
    return mask_BT, [x.where(mask_BT, torch.nan) for x in tensors]


@given(lengths, seeds, st.sampled_from([0.1, 1.0, 30.0]), st.floats(0.05, 0.5))
def test_policy_loss_equals_the_loop(lengths_B: list[int], seed: int, scale: float, clip_range: float):
    mask_BT, (new_BT, old_BT, advantages_BT) = columns(lengths_B, seed, scale, 3)
    loss, statistics = clipped_policy_loss(new_BT, old_BT, advantages_BT, mask_BT, clip_range, 7.0)
    total = kl = outside = first = second = 0.0
    for i, length in enumerate(lengths_B):
        for t in range(length):
            log_ratio = min(max((new_BT[i, t] - old_BT[i, t]).item(), -20), 20)
            ratio, advantage = math.exp(log_ratio), advantages_BT[i, t].item()
            clipped = min(max(ratio, 1 - clip_range), 1 + clip_range)
            total += -min(advantage * ratio, advantage * clipped)
            kl += log_ratio**2 / 2
            outside += ratio != clipped
            first += ratio
            second += ratio**2
    assert loss.item() == pytest.approx(total / 7, rel=1e-9, abs=1e-12)
    expected = {"approx_kl": kl, "clip_fraction": outside, "ratio": first, "ratio_squared": second}
    for name, value in statistics.as_dict().items():
        assert value.item() == pytest.approx(expected[name] / 7, rel=1e-6, abs=1e-12)


def test_before_the_first_step_the_loss_is_minus_the_mean_advantage():
    mask_BT, (logprobs_BT, advantages_BT) = columns([3, T, 0], 0, 1.0, 2)
    logprobs_BT.requires_grad_()
    tokens = mask_BT.sum()
    loss, statistics = clipped_policy_loss(logprobs_BT, logprobs_BT.detach(), advantages_BT, mask_BT, 0.2, tokens)
    assert loss.item() == pytest.approx(-advantages_BT[mask_BT].mean().item())
    assert (statistics.approx_kl, statistics.clip_fraction) == (0, 0)
    assert statistics.ratio.item() == pytest.approx(1)
    loss.backward()
    assert logprobs_BT.grad is not None
    torch.testing.assert_close(logprobs_BT.grad[mask_BT], -advantages_BT[mask_BT] / tokens)
    assert not logprobs_BT.grad[~mask_BT].any(), "masked positions, NaN as they are, get no gradient"


def test_clipped_tokens_have_no_gradient_when_the_clip_binds():
    new_BT = torch.tensor([[0.5, 0.5, -0.5, -0.5]], requires_grad=True)
    advantages_BT = torch.tensor([[1.0, -1.0, 1.0, -1.0]])
    mask_BT = torch.ones(1, 4, dtype=torch.bool)
    loss, _ = clipped_policy_loss(new_BT, torch.zeros(1, 4), advantages_BT, mask_BT, 0.2, 1)
    loss.backward()
    assert new_BT.grad is not None
    assert (new_BT.grad != 0).tolist() == [[False, True, True, False]]


def test_absurd_log_ratios_stay_finite():
    mask_BT = torch.ones(1, 2, dtype=torch.bool)
    new_BT = torch.tensor([[1e4, -1e4]], requires_grad=True)
    loss, _ = clipped_policy_loss(new_BT, torch.zeros(1, 2), -torch.ones(1, 2), mask_BT, 0.2, 2)
    loss.backward()
    assert loss.isfinite()
    assert new_BT.grad is not None
    assert new_BT.grad.isfinite().all()


@given(lengths, seeds, st.sampled_from([0.1, 10.0]), st.floats(0.05, 0.5))
def test_value_loss_equals_the_loop(lengths_B: list[int], seed: int, scale: float, clip_range: float):
    mask_BT, (new_BT, old_BT, returns_BT) = columns(lengths_B, seed, scale, 3)
    loss = clipped_value_loss(new_BT, old_BT, returns_BT, mask_BT, clip_range, 3.0)
    total = 0.0
    for i, length in enumerate(lengths_B):
        for t in range(length):
            new, old, target = (x[i, t].item() for x in (new_BT, old_BT, returns_BT))
            held = old + min(max(new - old, -clip_range), clip_range)
            total += 0.5 * max((new - target) ** 2, (held - target) ** 2)
    assert loss.item() == pytest.approx(total / 3, rel=1e-9, abs=1e-12)


@given(lengths, seeds, st.integers(1, 6))
def test_losses_do_not_depend_on_how_rows_are_split(lengths_B: list[int], seed: int, parts: int):
    mask_BT, data = columns(lengths_B, seed, 1.0, 3)
    tokens = mask_BT.sum().clamp(min=1)
    for loss in (
        lambda columns: clipped_policy_loss(*columns, clip_range=0.2, denominator=tokens)[0],
        lambda columns: clipped_value_loss(*columns, clip_range=0.2, denominator=tokens),
    ):
        whole = data[0].clone().requires_grad_()
        split = data[0].clone().requires_grad_()
        together = loss((whole, *data[1:], mask_BT))
        together.backward()
        pieces = [loss([x[i::parts] for x in (split, *data[1:], mask_BT)]) for i in range(parts)]
        torch.stack(pieces).sum().backward()
        torch.testing.assert_close(torch.stack(pieces).sum(), together)
        assert whole.grad is not None
        torch.testing.assert_close(split.grad, whole.grad)


def test_rows_without_tokens_change_nothing():
    mask_BT, data = columns([3, T], 0, 1.0, 3)
    empty = torch.full((2, T), torch.nan, dtype=torch.float64)
    wider = [torch.cat([x, empty]) for x in data]
    wider_mask_BT = torch.cat([mask_BT, torch.zeros(2, T, dtype=torch.bool)])
    loss, _ = clipped_policy_loss(data[0], data[1], data[2], mask_BT, 0.2, mask_BT.sum())
    again, _ = clipped_policy_loss(wider[0], wider[1], wider[2], wider_mask_BT, 0.2, wider_mask_BT.sum())
    torch.testing.assert_close(again, loss)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("replace", [2.0, -1.0, -1.0]), ("subtract", [2.0, 4.0, -4.0]), ("ignore", [2.0, 5.0, -3.0])],
)
def test_missing_eos(mode: str, expected: list[float]):
    scores_B, finished_B = torch.tensor([2.0, 5.0, -3.0]), torch.tensor([True, False, False])
    assert MISSING_EOS[mode](scores_B, finished_B, -1.0).tolist() == expected
    assert scores_B.tolist() == [2.0, 5.0, -3.0]


def test_subtract_takes_the_size_of_the_value():
    scores_B, finished_B = torch.tensor([5.0]), torch.tensor([False])
    assert MISSING_EOS["subtract"](scores_B, finished_B, 1.0) == MISSING_EOS["subtract"](scores_B, finished_B, -1.0)
