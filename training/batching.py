"""Batch algebra of SFT and reward model: how a global batch is cut over ranks, and rows in training order."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from typing import TypeVar

import torch

T = TypeVar("T")
IGNORED = -100
"""Label of tokens without loss, as Hugging Face has it."""
SHOWN = 20
log = logging.getLogger(__name__)


def micro_batches(field: str, batch_size: int, ranks: int, micro_batch: int) -> tuple[int, int]:
    """(rows a forward pass, forward passes a step) on each rank; batch_size = ranks x rows x passes.

    Raises ValueError naming the two fields when it does not divide.
    """
    if batch_size % ranks:
        raise ValueError(f"{field}={batch_size} must be a multiple of resources.learner_ranks={ranks}")
    rows = min(micro_batch, batch_size // ranks)
    if batch_size % (ranks * rows):
        raise ValueError(
            f"{field}={batch_size} must be a multiple of resources.micro_batch={micro_batch} "
            f"times resources.learner_ranks={ranks}"
        )
    return rows, batch_size // (ranks * rows)


def padded_order(rows: int, batch_size: int, epochs: int, seed: int) -> list[int | None]:
    """Row indexes of all epochs, each a new permutation by (seed, epoch) filled up with None to whole batches."""
    order: list[int | None] = []
    for epoch in range(epochs):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        order += torch.randperm(rows, generator=generator).tolist()
        order += [None] * (-rows % batch_size)
    return order


def chosen(rows: Sequence[T], limit: int | None, seed: int) -> list[T]:
    """All rows, or `limit` of them chosen by seed, in their own order."""
    if limit is None or limit >= len(rows):
        return list(rows)
    picked = random.Random(seed).sample(range(len(rows)), limit)
    return [rows[i] for i in sorted(picked)]


def within_length(lengths: Sequence[int], names: Sequence[str], max_length: int, too_long: str, what: str) -> list[int]:
    """Indexes of the rows of at most `max_length` tokens; the others are listed.

    Raises ValueError when there are others and `too_long` is error.
    """
    over = [i for i, length in enumerate(lengths) if length > max_length]
    if over:
        listed = ", ".join(f"{names[i]} ({lengths[i]} tokens)" for i in over[:SHOWN])
        more = f" and {len(over) - SHOWN} more" if len(over) > SHOWN else ""
        message = f"{len(over)} of {len(lengths)} {what} are longer than model.max_length={max_length}: {listed}{more}"
        if too_long == "error":
            raise ValueError(f"{message}; raise model.max_length, or set data.too_long: drop")
        log.warning("%s; dropped", message)
    dropped = set(over)
    return [i for i in range(len(lengths)) if i not in dropped]
