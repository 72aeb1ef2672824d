"""Which device, dtype, threads and memory this process computes with."""

from __future__ import annotations

import ctypes
import sys
from time import perf_counter

import torch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def default_device() -> torch.device:
    """The first visible GPU, else the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def compute_dtype(precision: str) -> torch.dtype:
    """The dtype of working weights for model.precision."""
    return DTYPES[precision]


def use_threads(count: int) -> None:
    """At process start: threads of a CPU op, and freed memory kept for the next tensor.

    By default glibc gives every block above 32 MiB back at once; the next tensor then pays a page fault for every
    4 KiB, which costs more than the arithmetic on it (an update of PPO in bf16 on CPU takes 1.4 times as long).
    """
    torch.set_num_threads(count)
    if sys.platform == "linux" and not torch.cuda.is_available():
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, -1)


def release_freed_memory() -> None:
    """Give all memory that nothing uses back to the system: once, after what needs much for a moment."""
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


def peak_flops(device: torch.device, dtype: torch.dtype, repeats: int = 5) -> float:
    """FLOP/s of large matrix products of random numbers: the best of a few."""
    size = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(repeats):
        start = perf_counter()
        (a @ b)[0, 0].item()
        best = min(best, perf_counter() - start)
    return 2.0 * size**3 / best


# malloc.h of glibc.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
