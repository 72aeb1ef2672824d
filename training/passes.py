"""Which rows of a batch go through a model together: sorted by length, so that little of a pass is padding."""

from __future__ import annotations

import torch
from torch import Tensor

from sandwiching.policy.records import Responses

MOST_ROWS = 4
"""Rows of a pass at most, in multiples of its limit: each holds keys and values of the shared prefix, however short."""


def plan_passes(batch: Responses, rows: Tensor, limit: int, prefix: int, ranks: int = 1) -> list[tuple[Tensor, ...]]:
    """Forward passes over `rows` [b] (int64 indexes into the batch), one tuple a pass: the rows of each rank.

    A pass is a rectangle of at most as many tokens as `limit` rows of the batch's longest prompt (behind the `prefix`
    that is computed once) and longest response; shorter rows fit in greater number, up to MOST_ROWS times. The longest
    come first, out of memory early. Ranks get equally many rows of about equal length in equally many passes (ZeRO-3
    needs that), so b must be a multiple of `ranks`.
    """
    assert len(rows) % ranks == 0, f"{len(rows)} rows over {ranks} ranks"
    response_B = batch.response_mask_BT.sum(1).clamp(min=1)
    prompt_B = batch.attention_BS[:, : batch.prompt_width].sum(1) - prefix
    budget = limit * int(prompt_B.max() + response_B.max())
    order = rows[(prompt_B + response_B)[rows].argsort(descending=True, stable=True)]
    passes, start = [], 0
    while start < len(order):
        stop = start + ranks
        while stop < min(len(order), start + MOST_ROWS * limit * ranks):
            wider = order[start : stop + ranks]
            if len(wider) // ranks * int(prompt_B[wider].max() + response_B[wider].max()) > budget:
                break
            stop += ranks
        passes.append(tuple(order[start:stop][rank::ranks] for rank in range(ranks)))
        start = stop
    return passes


def all_rows(batch: Responses) -> Tensor:
    """Indexes of all rows."""
    return torch.arange(len(batch))
