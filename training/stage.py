"""One stage as plain data, and how it is run: check the parents, call the function, write the manifest."""

from __future__ import annotations

import importlib
import platform
import subprocess
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sandwiching.configs.schema import ResourcesConfig
from sandwiching.tasks.sealed import training
from sandwiching.training.artifacts import StageFolder, read_manifest, write_manifest
from sandwiching.training.checkpoints import prune

OVERSIGHT = "sandwiching.oversight."
"""Modules of stages that may see gold and what experts said; the others train."""
PACKAGES = ("torch", "transformers", "trl", "peft", "deepspeed", "ray", "accelerate")


@dataclass(frozen=True, slots=True)
class StageCall:
    """A stage to run. Plain data, so that it can travel to another process.

    `arguments` are the function's own keyword arguments; `key_inputs` is what went into the key.
    """

    stage: str
    version: int
    key: str
    function: str
    arguments: dict[str, Any]
    key_inputs: dict[str, Any]
    parent_keys: dict[str, str]
    parents: dict[str, Path]
    folder: StageFolder
    notes: dict[str, Any] = field(default_factory=dict)


def environment() -> dict[str, Any]:
    """Where and with what a stage ran; nothing secret."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    return {
        "device": device,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "packages": {name: installed_version(name) for name in PACKAGES},
        "git_commit": git_commit(),
    }


def installed_version(package: str) -> str | None:
    """None where it is not installed: a run in one process needs no Ray."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def git_commit() -> str | None:
    """Commit of the checkout this package runs from, or None outside one; `+` marks uncommitted changes."""
    root = Path(__file__).resolve().parent
    asked = subprocess.run(
        ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty=+"],
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip() or None


def execute(call: StageCall, resources: ResourcesConfig, **context: Any) -> dict[str, float]:
    """Run the stage on this rank, and on rank 0 write its manifest. Returns the final metrics.

    Raises BrokenArtifact when a parent is not a whole artifact, before anything is loaded.
    """
    from sandwiching.training import distributed

    for parent in call.parents.values():
        read_manifest(parent, check_hashes=distributed.rank() == 0)
    module, name = call.function.split(":")
    function = getattr(importlib.import_module(module), name)
    started = time.time()
    with nullcontext() if module.startswith(OVERSIGHT) else training(call.function):
        metrics: dict[str, float] = function(
            **call.arguments, parents=call.parents, folder=call.folder, resources=resources, **context
        )
    distributed.barrier()
    if distributed.rank() == 0:
        publish(call, metrics, time.time() - started)
        prune(call.folder.checkpoints, resources.keep_finished, resources.keep_best)
    distributed.barrier()
    return metrics


def publish(call: StageCall, metrics: Mapping[str, float], seconds: float) -> None:
    """Write the manifest that makes the folder an artifact."""
    fields = {
        "stage": call.stage,
        "version": call.version,
        "key": call.key,
        "inputs": call.key_inputs,
        "parents": call.parent_keys,
        "metrics": dict(metrics),
        "seconds": seconds,
        "environment": {**environment(), **call.notes},
    }
    write_manifest(call.folder, fields)
