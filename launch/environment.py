"""What every process sets: variables before torch, DeepSpeed or Ray are imported, and how it computes after."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from sandwiching.configs.schema import ResourcesConfig


def set_library_environment(gpus: int) -> None:
    """Token authentication of every Ray that is started here: left unset, Ray decides by what is in the home directory.

    At a cluster that is joined (RAY_ADDRESS) a token is shown where there is one. gpus: resources.gpus of the run.
    """
    joins = "RAY_ADDRESS" in os.environ
    if not joins or has_token():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    if "RAY_AUTH_TOKEN" not in os.environ and not joins:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(16)
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    # Ray's default of 15 lets anything else on the machine starve a training step.
    os.environ.setdefault("RAY_worker_niceness", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.update(device_environment(gpus))


def has_token() -> bool:
    """Whether Ray would find a token where it looks for one."""
    named = "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ
    return named or (Path.home() / ".ray" / "auth_token").exists()


def device_environment(gpus: int) -> dict[str, str]:
    """What worker processes need too: with resources.gpus 0 everything computes on CPU, whatever the machine has."""
    return {} if gpus else {"DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": ""}


def prepare_process(resources: ResourcesConfig, threads: int) -> None:
    """Once in each process that computes: its threads and memory, and its kernels.

    Raises ValueError when resources.kernels names what is not installed here.
    """
    from sandwiching.kernels.backends import use_backend
    from sandwiching.training.devices import use_threads

    use_threads(threads)
    use_backend(resources.kernels)
