"""Which device and dtype this process computes with."""

from __future__ import annotations

import torch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def default_device() -> torch.device:
    """The first visible GPU, else the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def compute_dtype(precision: str) -> torch.dtype:
    """The dtype of working weights for model.precision."""
    return DTYPES[precision]
