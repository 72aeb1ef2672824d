"""Weights in shared memory, a bucket at a time. Needs torch only: both sides of a push import this file.

The memory is a memfd of the pushing process, which the other side of the same user on the same machine opens by
/proc/PID/fd: it has no name that a killed process could leave behind, and touches no disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

BUCKET_BYTES = 1 << 28
ALIGNMENT = 64


@dataclass(frozen=True)
class Bucket:
    """Where in the memory at `path` (size bytes) tensors stand: name, dtype (of torch, by name), shape, first byte.

    Example: Bucket("/proc/7/fd/9", 268435456, (("lm_head.weight", "float32", (8, 4), 0),)).
    """

    path: str
    size: int
    entries: tuple[tuple[str, str, tuple[int, ...], int], ...]

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Copies: the memory belongs to the next bucket once this one is acknowledged."""
        memory = torch.from_file(self.path, shared=True, size=self.size, dtype=torch.uint8)
        for name, dtype, shape, start in self.entries:
            flat = torch.empty(shape, dtype=getattr(torch, dtype))
            size = flat.numel() * flat.element_size()
            yield name, memory[start : start + size].view(flat.dtype).view(shape).clone()


class SharedBuckets:
    """Memory for pushes of one process. Its size is that of a bucket or, if larger, of the largest tensor."""

    def __init__(self, bucket_bytes: int = BUCKET_BYTES) -> None:
        self.bucket_bytes = bucket_bytes
        self.descriptor = os.memfd_create("weights")
        self.size = 0

    def fill(self, weights: Mapping[str, Tensor], dtype: torch.dtype) -> Iterator[Bucket]:
        """All of `weights` as `dtype`. Take the next bucket only when the last one has been read."""
        self._grow(max([self.bucket_bytes, *(_bytes(weight, dtype) for weight in weights.values())]))
        path = f"/proc/{os.getpid()}/fd/{self.descriptor}"
        memory = torch.from_file(path, shared=True, size=self.size, dtype=torch.uint8)
        entries: list[Any] = []
        end = 0
        for name, weight in weights.items():
            size = _bytes(weight, dtype)
            if entries and end + size > self.size:
                yield Bucket(path, self.size, tuple(entries))
                entries, end = [], 0
            memory[end : end + size].view(dtype).view(weight.shape).copy_(weight)
            entries.append((name, str(dtype).removeprefix("torch."), tuple(weight.shape), end))
            end += -(-size // ALIGNMENT) * ALIGNMENT
        if entries:
            yield Bucket(path, self.size, tuple(entries))

    def close(self) -> None:
        """Give the memory back."""
        os.close(self.descriptor)

    def _grow(self, size: int) -> None:
        if size > self.size:
            os.ftruncate(self.descriptor, size)
            self.size = size


def _bytes(weight: Tensor, dtype: torch.dtype) -> int:
    return weight.numel() * dtype.itemsize
