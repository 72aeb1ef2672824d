"""Which texts of a batch go through a model together: as many as a budget of tokens holds, those of like length."""

from __future__ import annotations

import torch
from torch import Tensor

MOST_TEXTS = 4
"""Texts of a pass at most, in multiples of its limit."""
MOST_KEYS = 2
"""Keys of a pass at most, likewise: attention holds those of the shared prefix once a text, however short that is."""


def plan_passes(tokens_B: Tensor, rows: Tensor, limit: int, prefix: int, ranks: int = 1) -> list[tuple[Tensor, ...]]:
    """Forward passes over `rows` [b] (int64 indexes into the batch), one tuple a pass: the rows of each rank.

    tokens_B: of each text, the `prefix` shared by all aside. A pass has at most as many as `limit` texts of the
    longest; the shorter fit in greater number, up to MOST_TEXTS times, and as MOST_KEYS allows. Texts of a pass are of
    like length, so that little of its attention is padding; the longest come first. Ranks get equally many texts of
    about equal length in equally many passes (ZeRO-3 needs that), so b must be a multiple of `ranks`.
    """
    assert len(rows) % ranks == 0, f"{len(rows)} rows over {ranks} ranks"
    most = int(tokens_B.max())
    order = rows[tokens_B[rows].argsort(descending=True, stable=True)]
    passes, start = [], 0
    while start < len(order):
        longest = int(tokens_B[order[start]])
        keys = MOST_KEYS * limit * (prefix + most) // (prefix + longest)
        texts = min(limit * most // longest, keys, MOST_TEXTS * limit)
        share = order[start : start + texts * ranks]
        passes.append(tuple(share[rank::ranks] for rank in range(ranks)))
        start += len(share)
    return passes


def all_rows(tokens_B: Tensor) -> Tensor:
    """Indexes of all texts."""
    return torch.arange(len(tokens_B))
