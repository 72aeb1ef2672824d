"""Against loops in fp64."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sandwiching.policy.advantages import (
    ADVANTAGES,
    gae,
    group,
    last_token,
    leave_one_out,
    masked_statistics,
    merge_statistics,
    token_rewards,
    whiten,
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
            assert rewards_BT[i].sum().item() == pytest.approx(total, abs=1e-12)
        assert rewards_BT[i].tolist() == pytest.approx(expected, abs=1e-12)


def test_the_last_token_may_be_in_the_last_column():
    assert last_token(mask_of([0, 1, T])).nonzero().tolist() == [[1, 0], [2, T - 1]]


def gae_by_loop(rewards: Tensor, values: Tensor, length: int, gamma: float, lam: float) -> tuple[list, list]:
    """Sums of discounted deltas, straight from eq. 16; nothing is carried from step to step."""
    value = [*values[:length].tolist(), 0.0]
    deltas = [rewards[t].item() + gamma * value[t + 1] - value[t] for t in range(length)]
    advantages = [sum((gamma * lam) ** (k - t) * deltas[k] for k in range(t, length)) for t in range(length)]
    zeros = [0.0] * (T - length)
    return advantages + zeros, [a + v for a, v in zip(advantages, value, strict=False)] + zeros


@given(lengths, seeds, st.floats(0, 1), st.floats(0, 1), st.sampled_from([(1.0, 0.0), (100.0, 0.0), (1.0, -50.0)]))
def test_gae_equals_the_loop(lengths_B: list[int], seed: int, gamma: float, lam: float, spread: tuple[float, float]):
    mask_BT = mask_of(lengths_B)
    rewards_BT, values_BT = (normal(seed + i, len(lengths_B), T, scale=spread[0], shift=spread[1]) for i in range(2))
    garbage = torch.tensor(torch.nan, dtype=torch.float64)
    advantages_BT, returns_BT = gae(
        rewards_BT.where(mask_BT, garbage), values_BT.where(mask_BT, garbage), mask_BT, gamma, lam
    )
    for i, length in enumerate(lengths_B):
        advantages, returns = gae_by_loop(rewards_BT[i], values_BT[i], length, gamma, lam)
        assert advantages_BT[i].tolist() == pytest.approx(advantages, rel=1e-9, abs=1e-9)
        assert returns_BT[i].tolist() == pytest.approx(returns, rel=1e-9, abs=1e-9)


@given(lengths, seeds)
def test_gae_with_lambda_one_is_return_minus_value(lengths_B: list[int], seed: int):
    mask_BT = mask_of(lengths_B)
    rewards_BT, values_BT = (normal(seed + i, len(lengths_B), T) * mask_BT for i in range(2))
    advantages_BT, returns_BT = gae(rewards_BT, values_BT, mask_BT, 1.0, 1.0)
    to_go_BT = rewards_BT.flip(1).cumsum(1).flip(1) * mask_BT
    torch.testing.assert_close(returns_BT, to_go_BT)
    torch.testing.assert_close(advantages_BT, to_go_BT - values_BT)


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
    ones_BT = torch.ones(3, T)
    with pytest.raises(ValueError, match="samples_per_prompt"):
        ADVANTAGES[name](ones_BT, ones_BT, ones_BT.bool(), 1.0, 1.0, torch.tensor([0, 0, 1]))


@pytest.mark.parametrize("name", ["leave_one_out", "group"])
def test_sequence_advantages_stand_at_every_token_of_the_response(name: str):
    mask_BT = mask_of([2, 0, T, 1])
    rewards_BT = normal(0, 4, T).where(mask_BT, torch.nan)
    group_B = torch.tensor([0, 0, 1, 1])
    advantages_BT, returns_BT = ADVANTAGES[name](rewards_BT, rewards_BT, mask_BT, 1.0, 0.95, group_B)
    function = {"leave_one_out": leave_one_out, "group": group}[name]
    expected_B = function(rewards_BT.nansum(1), group_B)
    torch.testing.assert_close(advantages_BT, (expected_B[:, None] * mask_BT))
    assert not returns_BT.any()


def test_gae_is_among_the_variants():
    rewards_BT, values_BT, mask_BT = normal(0, 2, T), normal(1, 2, T), mask_of([3, T])
    ours = ADVANTAGES["gae"](rewards_BT, values_BT, mask_BT, 0.9, 0.8, torch.zeros(2, dtype=torch.int64))
    torch.testing.assert_close(ours, gae(rewards_BT, values_BT, mask_BT, 0.9, 0.8))


@given(lengths, seeds, st.booleans(), st.sampled_from([0.0, 1e4]), st.integers(1, 5))
def test_whitening_with_merged_statistics_is_global(
    lengths_B: list[int], seed: int, shift_mean: bool, shift: float, shards: int
):
    mask_BT = mask_of(lengths_B)
    x_BT = normal(seed, len(lengths_B), T, scale=3.0, shift=shift)
    parts = [(x_BT[i::shards], mask_BT[i::shards]) for i in range(shards)]
    merged = merge_statistics(masked_statistics(x, mask) for x, mask in parts)
    whole = whiten(x_BT, mask_BT, shift_mean)
    for i, (x, mask) in enumerate(parts):
        torch.testing.assert_close(whiten(x, mask, shift_mean, merged), whole[i::shards], atol=1e-7, rtol=1e-7)
    x_N = x_BT[mask_BT]
    if len(x_N) > 1:
        assert merged.mean.item() == pytest.approx(x_N.mean().item(), rel=1e-12, abs=1e-12)
        assert merged.variance.item() == pytest.approx(x_N.var(unbiased=False).item(), rel=1e-6)
        expected = (x_N - x_N.mean()) / (x_N.var(unbiased=False) + 1e-8).sqrt() + (0 if shift_mean else x_N.mean())
        torch.testing.assert_close(whole[mask_BT], expected, atol=1e-6, rtol=1e-6)
    assert not whole[~mask_BT].any()


def test_whitening_survives_large_means_in_fp32():
    mask_BT = torch.ones(4, T, dtype=torch.bool)
    white_BT = whiten(normal(0, 4, T, shift=1e4).float(), mask_BT)
    assert white_BT.dtype == torch.float32
    assert white_BT.std(unbiased=False).item() == pytest.approx(1, abs=1e-3)
    assert white_BT.mean().item() == pytest.approx(0, abs=1e-3)


def test_whitening_of_nothing_and_of_constants_is_zero():
    x_BT = torch.full((2, T), 5.0)
    assert not whiten(x_BT, torch.zeros(2, T, dtype=torch.bool)).any()
    assert not whiten(x_BT, torch.ones(2, T, dtype=torch.bool)).any()
    assert whiten(x_BT, mask_of([1, T]), shift_mean=False).sum() == 5 * (1 + T)
