"""What every process sets: variables before torch, DeepSpeed or Ray are imported, and how it computes after."""

from __future__ import annotations

import os
import secrets

from sandwiching.configs.schema import ResourcesConfig


def set_library_environment(gpus: int) -> None:
    """Token authentication of Ray, always: left unset, Ray decides by what it finds in the home directory.

    gpus: resources.gpus of the run.
    """
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    if "RAY_AUTH_TOKEN" not in os.environ and "RAY_ADDRESS" not in os.environ:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(16)
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    # Ray's default of 15 lets anything else on the machine starve a training step.
    os.environ.setdefault("RAY_worker_niceness", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.update(device_environment(gpus))


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
