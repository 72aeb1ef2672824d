import torch
from hypothesis import given
from hypothesis import strategies as st

from sandwiching.policy.padding import SHORTEST_PREFIX, padded_left, padded_right, shared_prefix

ROWS = [(1, 2, 3), (), (4,)]


def test_prompts_end_and_responses_begin_at_one_column():
    tokens, mask = padded_left(ROWS, 9)
    assert tokens.tolist() == [[1, 2, 3], [9, 9, 9], [9, 9, 4]]
    assert mask.tolist() == [[True] * 3, [False] * 3, [False, False, True]]
    tokens, mask = padded_right(ROWS, 9, 4)
    assert tokens.tolist() == [[1, 2, 3, 9], [9, 9, 9, 9], [4, 9, 9, 9]]
    assert mask.tolist() == [[True] * 3 + [False], [False] * 4, [True] + [False] * 3]


def test_rows_without_tokens_have_width_one():
    tokens, mask = padded_right([(), ()], 9)
    assert tokens.shape == mask.shape == (2, 1)
    assert tokens.dtype == torch.int64
    assert not mask.any()


rows = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=24), min_size=1, max_size=5)


@given(rows, st.integers(0, 16), st.booleans())
def test_the_longest_prefix_that_leaves_a_token(tails: list[list[int]], length: int, left: bool):
    texts = [[9] * length + tail for tail in tails]
    tokens_BS, attention_BS = (padded_left if left else padded_right)(texts, 0)
    shortest = min(map(len, texts))
    expected = next((i for i in range(shortest) if len({text[i] for text in texts}) > 1), shortest)
    expected = min(expected, shortest - 1)
    pays = len(texts) > 1 and expected >= SHORTEST_PREFIX
    assert shared_prefix(tokens_BS, attention_BS) == (expected if pays else 0)


def test_a_prompt_keeps_its_last_token():
    same_BS = torch.ones(3, 30, dtype=torch.int64)
    assert shared_prefix(same_BS, same_BS.bool(), prompt_width=20) == 19
