"""Against loops in fp64."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sandwiching.kernels import reference
from sandwiching.policy.advantages import (
    ADVANTAGES,
    group,
    leave_one_out,
    token_rewards,
    truncated_importance,
    whitened,
)

T = 6
lengths = st.lists(st.integers(0, T), min_size=1, max_size=5)
seeds = st.integers(0, 10_000)


def mask_of(lengths_B: list[int]) -> Tensor:
    return torch.arange(T)[None] < torch.tensor(lengths_B)[:, None]


def normal(seed: int, *shape: int, scale: float = 1.0, shift: float = 0.0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale + shift


@given(lengths, seeds, st.floats(0, 2))
def test_token_rewards_sum_to_score_minus_the_penalty(lengths_B: list[int], seed: int, beta: float):
    mask_BT = mask_of(lengths_B)
    score_B, kl_BT = normal(seed, len(lengths_B)), normal(seed + 1, len(lengths_B), T)
    poisoned_BT = kl_BT.where(mask_BT, torch.nan)
    rewards_BT = token_rewards(score_B, poisoned_BT, mask_BT, beta)
    for i, length in enumerate(lengths_B):
        expected = [-beta * kl_BT[i, t].item() for t in range(length)] + [0.0] * (T - length)
        if length:
            expected[length - 1] += score_B[i].item()
            total = score_B[i].item() - beta * kl_BT[i, :length].sum().item()
            assert rewards_BT[i].sum().item() == pytest.approx(total, abs=1e-5)
        assert rewards_BT[i].tolist() == pytest.approx(expected, abs=1e-5)


def settings(mask_BT: Tensor, score_B: Tensor, kl_BT: Tensor, group_B: Tensor) -> tuple[Any, ...]:
    """Arguments of an advantage function."""
    return score_B.float(), kl_BT.float(), normal(9, *mask_BT.shape).float(), mask_BT, group_B, 0.1, 0.9, 0.8


groups = st.lists(st.integers(2, 4), min_size=1, max_size=4)


def rewards_and_groups(sizes: list[int], seed: int, shift: float) -> tuple[Tensor, Tensor]:
    """Rewards and their groups, shuffled; group numbers have gaps."""
    group_B = torch.tensor([7 * i + 3 for i, size in enumerate(sizes) for _ in range(size)])
    order_B = torch.randperm(len(group_B), generator=torch.Generator().manual_seed(seed))
    return normal(seed, len(group_B), shift=shift), group_B[order_B]


@given(groups, seeds, st.sampled_from([0.0, 1000.0]))
def test_group_baselines_equal_the_loop(sizes: list[int], seed: int, shift: float):
    rewards_B, group_B = rewards_and_groups(sizes, seed, shift)
    out, normalised = leave_one_out(rewards_B, group_B), group(rewards_B, group_B)
    for i in range(len(rewards_B)):
        members = [j for j in range(len(rewards_B)) if group_B[j] == group_B[i]]
        others = [rewards_B[j].item() for j in members if j != i]
        assert out[i].item() == pytest.approx(rewards_B[i].item() - sum(others) / len(others), abs=1e-9)
        own = rewards_B[members]
        expected = (rewards_B[i] - own.mean()) / (own.std() + 1e-4)
        assert normalised[i].item() == pytest.approx(expected.item(), abs=1e-9)


def test_a_group_of_equal_rewards_teaches_nothing():
    rewards_B, group_B = torch.full((4,), 3.3), torch.tensor([0, 0, 1, 1])
    assert group(rewards_B, group_B).abs().max() < 1e-2
    assert leave_one_out(rewards_B, group_B).abs().max() < 1e-6


@pytest.mark.parametrize("name", ["leave_one_out", "group"])
def test_one_response_is_no_group(name: str):
    arguments = settings(mask_of([1, 1, 1]), normal(0, 3), normal(1, 3, T), torch.tensor([0, 0, 1]))
    with pytest.raises(ValueError, match="samples_per_prompt"):
        ADVANTAGES[name](*arguments)


@pytest.mark.parametrize("name", ["leave_one_out", "group"])
def test_sequence_advantages_stand_at_every_token_of_the_response(name: str):
    mask_BT, score_B, group_B = mask_of([2, 0, T, 1]), normal(0, 4), torch.tensor([0, 0, 1, 1])
    kl_BT = normal(1, 4, T).where(mask_BT, torch.nan)
    rewards_BT, advantages_BT, returns_BT, statistics_3 = ADVANTAGES[name](*settings(mask_BT, score_B, kl_BT, group_B))
    total_B = score_B * mask_BT.any(1) - 0.1 * kl_BT.nansum(1)
    function = {"leave_one_out": leave_one_out, "group": group}[name]
    torch.testing.assert_close(rewards_BT.sum(1).double(), total_B)
    torch.testing.assert_close(advantages_BT.double(), function(total_B, group_B)[:, None] * mask_BT)
    assert not returns_BT.any()
    assert statistics_3[0] == mask_BT.sum()


def test_gae_is_token_returns():
    mask_BT, score_B, kl_BT = mask_of([3, T]), normal(0, 2), normal(1, 2, T)
    arguments = settings(mask_BT, score_B, kl_BT, torch.zeros(2, dtype=torch.int64))
    score_B, kl_BT, values_BT = (x.double() for x in arguments[:3])
    expected = reference.token_returns(score_B, kl_BT, values_BT, mask_BT, *arguments[5:])
    for x, y in zip(ADVANTAGES["gae"](*arguments), expected, strict=True):
        torch.testing.assert_close(x.double(), y, atol=1e-5, rtol=1e-5)


def test_whitening_survives_large_means_in_fp32():
    mask_BT = torch.ones(4, T, dtype=torch.bool)
    white_BT = whitened(normal(0, 4, T, shift=1e4).float(), mask_BT)
    assert white_BT.dtype == torch.float32
    assert white_BT.std(unbiased=False).item() == pytest.approx(1, abs=1e-3)
    assert white_BT.mean().item() == pytest.approx(0, abs=1e-3)


def test_whitening_of_nothing_and_of_constants_is_zero():
    x_BT = torch.full((2, T), 5.0)
    assert not whitened(x_BT, torch.zeros(2, T, dtype=torch.bool)).any()
    assert not whitened(x_BT, torch.ones(2, T, dtype=torch.bool)).any()
    assert whitened(x_BT, mask_of([1, T]), shift_mean=False).sum() == 5 * (1 + T)


def test_importance_is_the_capped_ratio():
    logprobs_BT = torch.tensor([[-1.0, -1.0, -1.0, torch.nan]])
    behaviour_BT = torch.tensor([[-1.5, -3.0, -0.5, 0.0]])
    mask_BT = torch.tensor([[True, True, True, False]])
    weight_BT = truncated_importance(logprobs_BT, behaviour_BT, mask_BT, 2.0)
    torch.testing.assert_close(weight_BT, torch.tensor([[math.exp(0.5), 2.0, math.exp(-0.5), 1.0]]))
