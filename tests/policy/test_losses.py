"""Against loops in fp64."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sandwiching.policy.losses import MISSING_EOS, clipped_value_loss, policy_loss_op
from sandwiching.policy.records import PPOBatch

T = 5
lengths = st.lists(st.integers(0, T), min_size=1, max_size=6)
seeds = st.integers(0, 10_000)


def columns(lengths_B: list[int], seed: int, scale: float, n: int) -> tuple[Tensor, list[Tensor]]:
    """Mask, and n tensors [B, T] in fp64 that are NaN where masked."""
    mask_BT = torch.arange(T)[None] < torch.tensor(lengths_B)[:, None]
    generator = torch.Generator().manual_seed(seed)
    tensors = [torch.randn(len(lengths_B), T, generator=generator, dtype=torch.float64) * scale for _ in range(n)]
    return mask_BT, [x.where(mask_BT, torch.nan) for x in tensors]


def head_case(lengths_B: list[int], seed: int) -> tuple[PPOBatch, Tensor, Tensor]:
    """Rows with two prompt columns, hidden states [N, 4] and a head over 11 tokens."""
    mask_BT, (old_BT, advantages_BT, values_BT) = columns(lengths_B, seed, 1.0, 3)
    generator = torch.Generator().manual_seed(seed)
    tokens_BS = torch.randint(0, 11, (len(mask_BT), 2 + T), generator=generator)
    attention_BS = torch.cat([torch.ones(len(mask_BT), 2, dtype=torch.bool), mask_BT], dim=1)
    fp32 = [x.float() for x in (old_BT - 2, values_BT, advantages_BT, values_BT)]
    hidden_ND, weight_VD = (torch.randn(n, 4, generator=generator) for n in (mask_BT.numel(), 11))
    return PPOBatch(tokens_BS, attention_BS, mask_BT, *fp32), hidden_ND, weight_VD


@given(lengths, seeds)
def test_policy_loss_is_that_of_the_response_tokens(lengths_B: list[int], seed: int):
    rows, hidden_ND, weight_VD = head_case(lengths_B, seed)
    target_M, old_M, advantage_M = (
        rows.flat(x_BT) for x_BT in (rows.tokens_BS[:, 2:], rows.logprobs_BT, rows.advantages_BT)
    )
    op = policy_loss_op(target_M, old_M, advantage_M, 0.7, 0.2, 0.01, 7.0)
    loss, statistics = op(hidden_ND[rows.response_mask_BT.flatten()], weight_VD, None)
    logprobs_NV = (hidden_ND.double() @ weight_VD.double().T / 0.7).log_softmax(-1)
    total = entropy = 0.0
    for i, length in enumerate(lengths_B):
        for t in range(length):
            logprobs_V = logprobs_NV[i * T + t]
            ratio = math.exp(logprobs_V[rows.tokens_BS[i, 2 + t]].item() - rows.logprobs_BT[i, t].item())
            advantage = rows.advantages_BT[i, t].item()
            total -= min(advantage * ratio, advantage * min(max(ratio, 0.8), 1.2))
            entropy -= (logprobs_V.exp() * logprobs_V).sum().item()
    assert statistics.policy_loss.item() == pytest.approx(total / 7, rel=1e-4, abs=1e-5)
    assert loss.item() == pytest.approx((total - 0.01 * entropy) / 7, rel=1e-4, abs=1e-5)


@given(lengths, seeds, st.sampled_from([0.1, 10.0]), st.floats(0.05, 0.5))
def test_value_loss_equals_the_loop(lengths_B: list[int], seed: int, scale: float, clip_range: float):
    mask_BT, (new_BT, old_BT, returns_BT) = columns(lengths_B, seed, scale, 3)
    loss = clipped_value_loss(new_BT[mask_BT], old_BT[mask_BT], returns_BT[mask_BT], clip_range, 3.0)
    total = 0.0
    for i, length in enumerate(lengths_B):
        for t in range(length):
            new, old, target = (x[i, t].item() for x in (new_BT, old_BT, returns_BT))
            held = old + min(max(new - old, -clip_range), clip_range)
            total += 0.5 * max((new - target) ** 2, (held - target) ** 2)
    assert loss.item() == pytest.approx(total / 3, rel=1e-9, abs=1e-12)


@given(lengths, seeds, st.integers(1, 6))
def test_losses_do_not_depend_on_how_rows_are_split(lengths_B: list[int], seed: int, parts: int):
    mask_BT, (values_BT, old_BT, returns_BT) = columns(lengths_B, seed, 1.0, 3)
    tokens = mask_BT.sum().clamp(min=1)
    whole, split = (values_BT.clone().requires_grad_() for _ in range(2))
    together = clipped_value_loss(whole[mask_BT], old_BT[mask_BT], returns_BT[mask_BT], 0.2, tokens)
    together.backward()
    pieces = []
    for i in range(parts):
        new_M, held_M, target_M = (x_BT[i::parts][mask_BT[i::parts]] for x_BT in (split, old_BT, returns_BT))
        pieces.append(clipped_value_loss(new_M, held_M, target_M, 0.2, tokens))
    torch.stack(pieces).sum().backward()
    torch.testing.assert_close(torch.stack(pieces).sum(), together)
    assert whole.grad is not None
    torch.testing.assert_close(split.grad, whole.grad)


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
