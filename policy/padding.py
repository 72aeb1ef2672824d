"""Rows of token ids as rectangles: prompts padded on the left, responses on the right."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

SHORTEST_PREFIX = 8
"""Shorter ones are not worth a pass of their own."""


def padded_left(rows: Sequence[Sequence[int]], pad: int, width: int | None = None) -> tuple[Tensor, Tensor]:
    """Tokens [B, P] int64 and mask [B, P] bool, P = `width` or the longest row (at least 1)."""
    return _padded(rows, pad, width, left=True)


def padded_right(rows: Sequence[Sequence[int]], pad: int, width: int | None = None) -> tuple[Tensor, Tensor]:
    """Tokens [B, T] int64 and mask [B, T] bool, T = `width` or the longest row (at least 1)."""
    return _padded(rows, pad, width, left=False)


def _padded(rows: Sequence[Sequence[int]], pad: int, width: int | None, left: bool) -> tuple[Tensor, Tensor]:
    width = max([1, *map(len, rows)]) if width is None else width
    tokens = torch.full((len(rows), width), pad, dtype=torch.int64)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for i, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(0, len(row))
        tokens[i, place] = torch.tensor(row, dtype=torch.int64)
        mask[i, place] = True
    return tokens, mask


def shared_prefix(tokens_BS: Tensor, attention_BS: Tensor, prompt_width: int | None = None) -> int:
    """How many tokens all rows begin with, their left padding aside; for trunk.trunk_hidden.

    Every row keeps at least one token behind them within its first `prompt_width` columns (default: all). Take it from
    a whole batch where micro-batches must agree: they then have one layout, hence log-probs the same bits before and in
    an update, and under ZeRO-3 every rank calls the trunk equally often. 0 where it would not pay: fewer than two rows,
    or fewer than SHORTEST_PREFIX tokens.
    """
    limit = int(attention_BS[:, :prompt_width].sum(1).min()) - 1 if len(tokens_BS) > 1 else 0
    if limit < SHORTEST_PREFIX:
        return 0
    start_B1 = attention_BS.long().argmax(-1, keepdim=True)
    column_BL = start_B1 + torch.arange(limit, device=tokens_BS.device)
    begin_BL = tokens_BS.gather(1, column_BL)
    length = int((begin_BL == begin_BL[:1]).all(0).long().cumprod(0).sum())
    return length if length >= SHORTEST_PREFIX else 0
