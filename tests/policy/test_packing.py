"""Texts packed into one row, against loops over texts."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sandwiching.policy.packing import Packing
from sandwiching.policy.padding import padded_left, padded_right
from sandwiching.policy.records import Texts

pairs = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 7)), min_size=1, max_size=6)


def texts_of(lengths: list[tuple[int, int]], shared: int) -> tuple[Texts, list[list[int]]]:
    """Rows of (prompt, response) tokens behind `shared` more that are equal, padded; and whole, without padding."""
    generator = torch.Generator().manual_seed(len(lengths))
    whole = [[7] * shared + torch.randint(1, 200, (sum(pair),), generator=generator).tolist() for pair in lengths]
    ends = [shared + prompt for prompt, _ in lengths]
    tokens_BP, attention_BP = padded_left([row[:end] for row, end in zip(whole, ends, strict=True)], 0, shared + 12)
    tokens_BT, mask_BT = padded_right([row[end:] for row, end in zip(whole, ends, strict=True)], 0, 8)
    return Texts(torch.cat([tokens_BP, tokens_BT], 1), torch.cat([attention_BP, mask_BT], 1), mask_BT), whole


@given(pairs, st.integers(0, 5))
def test_each_token_once_and_where_it_says(lengths: list[tuple[int, int]], shared: int):
    texts, whole = texts_of(lengths, shared)
    packing = Packing.of(texts.tokens_BS, texts.attention_BS, shared)
    expected = [7] * shared + [token for row in whole for token in row[shared:]]
    assert packing.tokens_N.tolist() == expected
    positions = [*range(shared), *(i for row in whole for i in range(shared, len(row)))]
    assert packing.position_N.tolist() == positions
    for i, row in enumerate(whole):
        place_R = packing.place_BR[i][packing.real_BR[i]]
        assert packing.tokens_N[place_R].tolist() == row[shared:]
        assert packing.last_B[i] == place_R[-1]


@given(pairs, st.integers(0, 5))
def test_the_token_before_each_response_token(lengths: list[tuple[int, int]], shared: int):
    texts, whole = texts_of(lengths, shared)
    responses = texts.packed(shared)
    expected = [
        (row[shared + prompt + i - 1], shared + prompt + i - 1, row[shared + prompt + i])
        for row, (prompt, response) in zip(whole, lengths, strict=True)
        for i in range(response)
    ]
    packing = responses.packing
    before = (x_N[responses.before_M].tolist() for x_N in (packing.tokens_N, packing.position_N))
    assert list(zip(*before, responses.target_M.tolist(), strict=True)) == expected


@given(pairs)
def test_flat_and_padded_undo_each_other(lengths: list[tuple[int, int]]):
    texts, _ = texts_of(lengths, 0)
    column_BT = torch.arange(1.0, texts.response_mask_BT.numel() + 1).view(texts.response_mask_BT.shape)
    assert texts.padded(texts.flat(column_BT)).equal(column_BT * texts.response_mask_BT)


def test_padding_may_stand_on_either_side():
    rows = [[5, 6, 7, 8], [5, 6, 9], [5, 6, 1, 2, 3]]
    left, right = (Packing.of(*pad(rows, 0, 9), prefix=2) for pad in (padded_left, padded_right))
    for name in ("tokens_N", "position_N", "rest_B", "place_BR", "real_BR"):
        one, other = getattr(left, name), getattr(right, name)
        assert isinstance(one, Tensor)
        assert one.equal(other), name
