"""From plain dicts, whose keys were checked, to the dataclasses of schema.py and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cache
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from sandwiching.configs.errors import ConfigError
from sandwiching.configs.fields import describe, type_at
from sandwiching.configs.layers import Layer, Raw
from sandwiching.configs.schema import TASKS, ArmConfig, Config, TaskConfig

_ARM_OWN = tuple(field.name for field in dataclasses.fields(ArmConfig) if field.name != "overrides")


def task_class(settings: Raw, source: str) -> type[TaskConfig]:
    """The dataclass of `task.name`. Raises ConfigError when it is missing or unknown."""
    task = settings.get("task")
    name = task.get("name") if isinstance(task, dict) else None
    if not isinstance(name, str) or name not in TASKS:
        problem = "is missing" if name is None else f"{name!r} is unknown"
        raise ConfigError.at(f"{source}: task.name", problem, f"use one of {', '.join(TASKS)}")
    return TASKS[name]


def structured(settings: Raw, task: type[TaskConfig], layers: Sequence[Layer]) -> Config:
    """The Config of merged settings. `layers` are searched for the place of a wrong value.

    Raises ConfigError for a value of the wrong type and for a missing one.
    """
    schema = _schema(task)
    arms = {name: _arm_from_yaml(arm) for name, arm in settings.get("arms", {}).items()}
    try:
        config = OmegaConf.to_object(OmegaConf.merge(schema, OmegaConf.create({**settings, "arms": arms})))
    except MissingMandatoryValue as error:
        raise ConfigError.at(f"{layers[-1].source}: {error.full_key}", "is missing", "set it") from error
    except OmegaConfBaseException as error:
        key = str(error.full_key)
        remedy = f"give {describe(type_at(key, task))}"
        raise ConfigError.at(
            f"{_source(layers, key)}: {key}", f"{_lookup(settings, key)!r} does not fit", remedy
        ) from error
    assert isinstance(config, Config)
    return config


def plain(config: Config) -> Raw:
    """The inverse of `structured`: an arm's overrides stand beside its tier."""
    settings = dataclasses.asdict(config)
    settings["arms"] = {
        name: {**{key: arm[key] for key in _ARM_OWN}, **arm["overrides"]} for name, arm in settings["arms"].items()
    }
    return settings


@cache
def _schema(task: type[TaskConfig]) -> DictConfig:
    schema = OmegaConf.structured(Config)
    schema.task = OmegaConf.structured(task)
    return schema


def _arm_from_yaml(arm: Raw) -> Raw:
    own = {key: value for key, value in arm.items() if key in _ARM_OWN}
    return {**own, "overrides": {key: value for key, value in arm.items() if key not in _ARM_OWN}}


def _lookup(settings: Raw, key: str) -> Any:
    value: Any = settings
    for part in key.partition("[")[0].split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _source(layers: Sequence[Layer], key: str) -> str:
    """The strongest layer that sets `key`."""
    setting = [layer.source for layer in layers if _lookup(layer.settings, key) is not None]
    return setting[-1] if setting else layers[-1].source
