"""Batch algebra."""

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandwiching.training.batching import micro_batches, padded_order, within_length


@settings(deadline=None)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 8), st.integers(1, 64))
def test_a_global_batch_is_ranks_times_rows_times_passes(ranks, rows, passes, micro_batch):
    batch_size = ranks * rows * passes
    try:
        found_rows, found_passes = micro_batches("sft.batch_size", batch_size, ranks, micro_batch)
    except ValueError:
        assert batch_size % (ranks * micro_batch)
        return
    assert ranks * found_rows * found_passes == batch_size
    assert found_rows == min(micro_batch, batch_size // ranks)


@pytest.mark.parametrize(("batch_size", "ranks"), [(30, 1), (32, 3), (2, 3)])
def test_what_does_not_divide_names_both_fields(batch_size, ranks):
    with pytest.raises(ValueError, match=r"sft\.batch_size=\d+ .*resources\.\w+"):
        micro_batches("sft.batch_size", batch_size, ranks, 8)


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(1, 9), st.integers(1, 3), st.integers(0, 5))
def test_order_fills_each_epoch_up(rows, batch_size, epochs, seed):
    order = padded_order(rows, batch_size, epochs, seed)
    size = -(-rows // batch_size) * batch_size
    assert len(order) == size * epochs
    for epoch in range(epochs):
        part = order[epoch * size : (epoch + 1) * size]
        assert len(part) == size
        assert set(part[:rows]) == set(range(rows))
        assert part[rows:] == [None] * (size - rows)


def test_long_rows_list_twenty_at_most(caplog):
    lengths = [10] * 25 + [3]
    names = [f"row{i}" for i in range(26)]
    with caplog.at_level(logging.WARNING):
        assert within_length(lengths, names, 5, "drop", "judgements") == [25]
    assert "row19 (10 tokens) and 5 more; dropped" in caplog.text
    with pytest.raises(ValueError, match="25 of 26 judgements"):
        within_length(lengths, names, 5, "error", "judgements")
    assert within_length([5], ["x"], 5, "error", "rows") == [0]
