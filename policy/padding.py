"""Rows of token ids as rectangles: prompts padded on the left, responses on the right."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


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
