"""YAML files and overrides -> Config, and back.

capitals_long.yaml --extends--> capitals.yaml       dicts merge, lists replace, null removes an arm
+ `ppo.steps=20` from the command line
-> keys checked -> dataclasses -> values checked (validate.py), for the run and for each of its arms
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from sandwiching.configs.errors import ConfigError
from sandwiching.configs.keys import check_keys
from sandwiching.configs.layers import find_config, parse_overrides, read_layers, stacked
from sandwiching.configs.resolve import all_problems, arm_config
from sandwiching.configs.schema import Config
from sandwiching.configs.structure import plain, structured, task_class
from sandwiching.configs.sweep_check import sweep_problems

__all__ = ["ConfigError", "arm_config", "load", "to_yaml"]


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """The checked config of a file, or of a shipped config's bare name, with `key=value` overrides on top.

    Raises ConfigError naming file, setting, value and remedy.
    """
    file = find_config(path)
    layers = read_layers(file)
    if overrides:
        layers.append(parse_overrides(overrides))
    settings = stacked(layers)
    task = task_class(settings, str(file))
    for layer in layers:
        check_keys(layer, task)
    config = structured(settings, task, layers)
    found = all_problems(config, str(file)) or sweep_problems(config)
    if found:
        raise ConfigError("\n".join(f"{file}: {problem}" for problem in found))
    return config


def to_yaml(config: Config) -> str:
    """The whole resolved config as YAML; loading it gives an equal Config."""
    return OmegaConf.to_yaml(OmegaConf.create(plain(config)))
