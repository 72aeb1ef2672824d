"""Which implementation of the kernels runs: chosen once by config or environment, per device, and logged once."""

from __future__ import annotations

import importlib.util
import logging
import os
from functools import cache
from pathlib import Path

import torch

BACKENDS = ("auto", "torch", "triton", "cuda", "reference")
"""auto: Triton on a GPU where it is installed, else torch. cuda: the C++ token_returns, all else as auto. reference:
reference.py, all logits in memory and loops over tokens, to compare with."""
ENVIRONMENT = "SANDWICHING_KERNELS"
"""Names a backend over whatever the config says."""
CUDA_LIBRARY = Path(__file__).parent / "csrc" / "build" / "token_returns.so"
"""What `python setup.py build_kernels` makes."""

log = logging.getLogger(__name__)
_configured = "auto"


def use_backend(name: str) -> None:
    """Run all ops of this process on backend `name`; the environment variable SANDWICHING_KERNELS goes before it.

    Raises ValueError for a name not in BACKENDS and for a backend that is not installed.
    """
    global _configured
    _check(name, "kernels")
    _configured = name


def row_backend(device: torch.device, dtype: torch.dtype) -> str:
    """'torch' or 'triton' for the kernels on rows of logits of `dtype`.

    Raises ValueError when the forced backend cannot run there.
    """
    name = _requested()
    if name == "triton" and dtype == torch.float64:
        raise ValueError("kernels: the Triton kernels compute in fp32, got fp64 tensors; use the backend 'torch'")
    chosen = "torch" if dtype == torch.float64 else _triton_or_torch(name, device)
    _log_once("rows of logits", chosen, device.type)
    return chosen


def returns_backend(device: torch.device) -> str:
    """'torch', 'triton' or 'cuda' for token_returns. Raises ValueError when the forced backend cannot run there."""
    name = _requested()
    chosen = "cuda" if name == "cuda" else _triton_or_torch(name, device)
    _log_once("token_returns", chosen, device.type)
    return chosen


def is_reference() -> bool:
    """Whether ops run as reference.py has them."""
    chosen = _requested() == "reference"
    if chosen:
        _log_once("all ops", "reference", "any device")
    return chosen


@cache
def has_triton() -> bool:
    """Whether Triton is installed."""
    return importlib.util.find_spec("triton") is not None


def _triton_or_torch(name: str, device: torch.device) -> str:
    runs = device.type == "cuda" or os.environ.get("TRITON_INTERPRET") == "1"
    if name == "triton" and not runs:
        raise ValueError(f"kernels: the backend 'triton' needs a GPU, got tensors on {device.type}; use 'auto'")
    if name == "triton" or (name != "torch" and device.type == "cuda" and has_triton()):
        return "triton"
    return "torch"


def _requested() -> str:
    name = os.environ.get(ENVIRONMENT)
    if name is None:
        return _configured
    _check(name, ENVIRONMENT)
    return name


@cache
def _check(name: str, source: str) -> None:
    if name not in BACKENDS:
        raise ValueError(f"{source}={name}: must be one of {', '.join(BACKENDS)}")
    if name == "triton" and not has_triton():
        raise ValueError(f"{source}=triton: Triton is not installed; install it or use 'auto'")
    if name == "cuda" and not CUDA_LIBRARY.exists():
        raise ValueError(f"{source}=cuda: {CUDA_LIBRARY} is missing; run `python setup.py build_kernels` (needs nvcc)")


@cache
def _log_once(kernels: str, backend: str, device: str) -> None:
    log.info("kernels: %s on %s run in %s", kernels, device, backend)
