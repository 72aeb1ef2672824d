"""YAML files and overrides -> Config, and back.

capitals_long.yaml --extends--> capitals.yaml       dicts merge, lists replace, null removes an arm
+ `ppo.steps=20` from the command line
-> keys checked -> dataclasses -> values checked (validate.py), for the run and for each of its arms
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from sandwiching.configs.errors import ConfigError
from sandwiching.configs.keys import check_keys
from sandwiching.configs.layers import Layer, find_config, merged, parse_overrides, read_layers, stacked
from sandwiching.configs.schema import Config
from sandwiching.configs.structure import plain, structured, task_class
from sandwiching.configs.validate import problems

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
    found = problems(config)
    if not found:
        for name in config.arms:
            found += [f"arms.{name}: {problem}" for problem in problems(_arm(config, name, f"{file}: arms.{name}"))]
    if found:
        raise ConfigError("\n".join(f"{file}: {problem}" for problem in found))
    return config


def arm_config(config: Config, name: str) -> Config:
    """A copy of the config as the arm sees it.

    Raises ConfigError when the arm is unknown or an override does not fit.
    """
    if name not in config.arms:
        raise ConfigError.at(f"arms.{name}", "no such arm", f"the arms are {', '.join(config.arms)}")
    return _arm(config, name, f"arms.{name}")


def to_yaml(config: Config) -> str:
    """The whole resolved config as YAML; loading it gives an equal Config."""
    return OmegaConf.to_yaml(OmegaConf.create(plain(config)))


def _arm(config: Config, name: str, source: str) -> Config:
    if not config.arms[name].overrides:
        return copy.deepcopy(config)
    layer = Layer(source, config.arms[name].overrides)
    task = type(config.task)
    check_keys(layer, task)
    return structured(merged(plain(config), layer.settings), task, [layer])
