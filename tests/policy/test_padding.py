import torch

from sandwiching.policy.padding import padded_left, padded_right

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
