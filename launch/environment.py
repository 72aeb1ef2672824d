"""Variables that must be set before torch, DeepSpeed or Ray are imported, here and in every worker."""

from __future__ import annotations

import os
import secrets


def set_library_environment() -> None:
    """Token authentication of Ray, always: left unset, Ray decides by what it finds in the home directory."""
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    if "RAY_AUTH_TOKEN" not in os.environ and "RAY_ADDRESS" not in os.environ:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(16)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    # Ray's default of 15 lets anything else on the machine starve a training step.
    os.environ.setdefault("RAY_worker_niceness", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.update(worker_environment())


def worker_environment() -> dict[str, str]:
    """What worker processes need too: without a GPU, DeepSpeed must be told so before it is imported."""
    return {} if os.path.exists("/dev/nvidiactl") else {"DS_ACCELERATOR": "cpu"}
