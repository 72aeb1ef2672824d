"""Plans of forward passes: every row once, balanced over ranks, within the budget; and trimmed records."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sandwiching.policy.padding import padded_left, padded_right
from sandwiching.policy.records import PPOBatch
from sandwiching.training.passes import MOST_ROWS, plan_passes

rows_of_lengths = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 7)), min_size=1, max_size=20)


def batch_of(lengths: list[tuple[int, int]], shared: int = 0) -> PPOBatch:
    """Rows of (prompt, response) tokens; all prompts begin with `shared` more that are equal."""
    generator = torch.Generator().manual_seed(len(lengths))
    tokens = [torch.randint(1, 200, (sum(pair),), generator=generator).tolist() for pair in lengths]
    prompts = [[7] * shared + row[:n] for row, (n, _) in zip(tokens, lengths, strict=True)]
    tokens_BP, attention_BP = padded_left(prompts, 0, shared + 12)
    tokens_BT, mask_BT = padded_right([row[n:] for row, (n, _) in zip(tokens, lengths, strict=True)], 0, 8)
    column_BT = torch.arange(mask_BT.numel()).view(mask_BT.shape).float()
    tokens_BS, attention_BS = torch.cat([tokens_BP, tokens_BT], 1), torch.cat([attention_BP, mask_BT], 1)
    return PPOBatch(tokens_BS, attention_BS, mask_BT, column_BT, -column_BT, column_BT, column_BT)


def rectangle(batch: PPOBatch, rows: Tensor, prefix: int) -> int:
    """Tokens of a pass over these rows, padding included, behind the prefix."""
    return len(rows) * (batch.select(rows).trimmed().tokens_BS.shape[1] - prefix)


@given(rows_of_lengths, st.integers(1, 6), st.integers(1, 3), st.integers(0, 12), st.booleans())
def test_each_row_is_in_one_pass_within_the_budget(lengths, limit: int, ranks: int, shared: int, shares: bool):
    batch = batch_of((lengths * ranks)[: len(lengths) // ranks * ranks or ranks], shared)
    rows = torch.randperm(len(batch), generator=torch.Generator().manual_seed(limit))
    prefix = batch.shared_prefix if shares else 0
    plan = plan_passes(batch, rows, limit, prefix, ranks)
    assert sorted(torch.cat([part for parts in plan for part in parts]).tolist()) == list(range(len(batch)))
    longest = max(1, int(batch.response_mask_BT.sum(1).max())) + int(
        batch.attention_BS[:, : batch.prompt_width].sum(1).max() - prefix
    )
    assert len(plan) <= -(-len(batch) // ranks // limit)
    for parts in plan:
        assert len({len(part) for part in parts}) == 1, "every rank the same number"
        for part in parts:
            assert rectangle(batch, part, prefix) <= limit * longest
            assert len(part) <= MOST_ROWS * limit


def test_short_rows_share_a_pass_and_the_longest_go_first():
    batch = batch_of([(1, 1), (9, 7), (1, 2), (1, 1), (9, 6), (1, 1)])
    plan = [rows.tolist() for (rows,) in plan_passes(batch, torch.arange(6), limit=2, prefix=0)]
    assert plan == [[1, 4], [2, 0, 3, 5]]


def test_only_the_chosen_rows_are_planned_in_an_order_of_their_own():
    batch = batch_of([(2, 2)] * 8)
    one, other = (plan_passes(batch, torch.tensor(rows), 2, 0, 2) for rows in ([5, 1, 7, 2], [2, 7, 1, 5]))
    assert [[part.tolist() for part in shares] for shares in one] == [[[5, 7], [1, 2]]]
    assert [[part.tolist() for part in shares] for shares in other] == [[[2, 1], [7, 5]]]


@given(rows_of_lengths)
def test_trimming_drops_nothing_but_padding(lengths):
    batch = batch_of(lengths)
    trimmed = batch.trimmed()
    assert trimmed.prompt_width == max(prompt for prompt, _ in lengths)
    assert trimmed.response_width == max(1, *(response for _, response in lengths), 1)
    mask_BT = batch.response_mask_BT
    assert torch.equal(trimmed.tokens_BS[trimmed.attention_BS], batch.tokens_BS[batch.attention_BS])
    assert torch.equal(trimmed.returns_BT[trimmed.response_mask_BT], batch.returns_BT[mask_BT])
    assert torch.equal(trimmed.values_BT[trimmed.response_mask_BT], batch.values_BT[mask_BT])


def test_ranks_must_divide_the_rows():
    with pytest.raises(AssertionError, match="3 rows over 2 ranks"):
        plan_passes(batch_of([(1, 1)] * 3), torch.arange(3), 1, 0, 2)
