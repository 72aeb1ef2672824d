"""How much room and how many steps trials take at most. Torch-free."""

from __future__ import annotations

from dataclasses import replace

from sandwiching.configs.schema import Config, ResourcesConfig
from sandwiching.configs.sweep_block import parse_space


def all_at_once(config: Config) -> ResourcesConfig:
    """`resources` times sweep.parallel: on one node what one holds, else as many times the nodes."""
    resources = config.resources
    parallel = config.sweep.parallel if config.sweep is not None else 1
    gpus = resources.gpus * parallel
    if resources.nodes > 1:
        return replace(resources, gpus=gpus, nodes=resources.nodes * parallel)
    return replace(resources, gpus=gpus, cpus=resources.cpus * parallel if resources.cpus else None)


def most_steps(config: Config) -> int:
    """PPO steps of the longest trial."""
    if config.ppo is None or config.sweep is None:
        return 0
    swept = [one for one in parse_space(config.sweep.space) if one.key.endswith("ppo.steps")]
    return max([config.ppo.steps, *(int(max(one.values)) for one in swept)])
