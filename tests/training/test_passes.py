"""Plans of forward passes: every text once, balanced over ranks, within the budget."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sandwiching.training.passes import MOST_KEYS, MOST_TEXTS, plan_passes

lengths = st.lists(st.integers(1, 16), min_size=1, max_size=20)


@given(lengths, st.integers(1, 6), st.integers(0, 40), st.integers(1, 3))
def test_each_text_is_in_one_pass_within_the_budget(lengths: list[int], limit: int, prefix: int, ranks: int):
    tokens_B = torch.tensor((lengths * ranks)[: len(lengths) // ranks * ranks or ranks])
    rows = torch.randperm(len(tokens_B), generator=torch.Generator().manual_seed(limit))
    plan = plan_passes(tokens_B, rows, limit, prefix, ranks)
    assert sorted(torch.cat([part for parts in plan for part in parts]).tolist()) == list(range(len(tokens_B)))
    assert len(plan) <= -(-len(tokens_B) // ranks // limit)
    for parts in plan:
        assert len({len(part) for part in parts}) == 1, "every rank the same number"
        for part in parts:
            assert len(part) * int(tokens_B[part].max()) <= limit * int(tokens_B.max())
            assert len(part) <= MOST_TEXTS * limit
            most = prefix + int(tokens_B.max())
            assert len(part) * (prefix + int(tokens_B[part].max())) <= max(1, MOST_KEYS * limit) * most


def test_short_texts_share_a_pass_and_the_longest_go_first():
    tokens_B = torch.tensor([2, 16, 3, 2, 15, 2])
    assert [rows.tolist() for (rows,) in plan_passes(tokens_B, torch.arange(6), 2, 0)] == [[1, 4], [2, 0, 3, 5]]
    short_B = torch.full((12,), 2)
    short_B[0] = 16
    assert [len(rows) for (rows,) in plan_passes(short_B, torch.arange(12), 2, 0)] == [2, 8, 2]
    assert [len(rows) for (rows,) in plan_passes(short_B, torch.arange(12), 2, 1000)] == [2, 4, 4, 2], "prefix's keys"


def test_only_the_chosen_texts_are_planned_in_an_order_of_their_own():
    tokens_B = torch.full((8,), 4)
    one, other = (plan_passes(tokens_B, torch.tensor(rows), 2, 0, 2) for rows in ([5, 1, 7, 2], [2, 7, 1, 5]))
    assert [[part.tolist() for part in shares] for shares in one] == [[[5, 7], [1, 2]]]
    assert [[part.tolist() for part in shares] for shares in other] == [[[2, 1], [7, 5]]]


def test_ranks_must_divide_the_texts():
    with pytest.raises(AssertionError, match="3 rows over 2 ranks"):
        plan_passes(torch.tensor([1, 1, 1]), torch.arange(3), 1, 0, 2)
