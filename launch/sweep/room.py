"""How much room all trials that run at once take. Torch-free."""

from __future__ import annotations

from dataclasses import replace

from sandwiching.configs.schema import Config, ResourcesConfig


def all_at_once(config: Config) -> ResourcesConfig:
    """`resources` times sweep.parallel: on one node what one holds, else as many times the nodes."""
    resources = config.resources
    parallel = config.sweep.parallel if config.sweep is not None else 1
    gpus = resources.gpus * parallel
    if resources.nodes > 1:
        return replace(resources, gpus=gpus, nodes=resources.nodes * parallel)
    return replace(resources, gpus=gpus, cpus=resources.cpus * parallel if resources.cpus else None)
