"""Every key of a config layer must be a setting, and its value of the setting's shape: block, list or single value."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, get_args, get_origin

from sandwiching.configs.errors import ConfigError
from sandwiching.configs.fields import (
    ARM_BLOCKS,
    Types,
    block_of,
    describe,
    dotted_names,
    entry_of,
    is_list,
    is_optional,
    settings_of,
    settings_of_arm,
)
from sandwiching.configs.layers import Layer
from sandwiching.configs.schema import Config, TaskConfig

SHARED = (
    *("task.name", "task.kinds", "task.min_population", "task.max_prompts", "task.towns", "task.planted"),
    "labels.cost",
)
"""Settings that an arm may not override though it may override their block: all face the same held-out prompts."""


def check_keys(layer: Layer, task: type[TaskConfig]) -> None:
    """Raise ConfigError for the first key of `layer` that is unknown, or whose value has the wrong shape."""
    _KeyCheck(layer.source, task).block(layer.settings, settings_of(Config, task), "")


class _KeyCheck:
    """The walk over one layer; `source` names it in messages."""

    def __init__(self, source: str, task: type[TaskConfig]) -> None:
        self.source = source
        self.task = task

    def block(self, settings: Any, types: Types, prefix: str) -> None:
        """All keys and values of one block, whose dotted name is `prefix`."""
        if not isinstance(settings, Mapping):
            raise self.error(prefix.rstrip("."), f"is {settings!r}", f"give a block of settings ({', '.join(types)})")
        for key, value in settings.items():
            name = f"{prefix}{key}"
            if key not in types:
                raise self.error(name, "is unknown", self.remedy(str(key), prefix, types))
            if name == "arms":
                self.arms(value)
            elif name == "sweep.space":
                # Its keys are checked in sweep_check.py, once all layers are merged.
                if not isinstance(value, Mapping):
                    raise self.error(name, f"is {value!r}", "give settings and how each varies")
            else:
                self.value(value, types[key], name)

    def value(self, value: Any, kind: Any, name: str) -> None:
        """The value of one setting, as far as its shape goes."""
        block = block_of(kind)
        if value is None:
            if not is_optional(kind):
                raise self.error(name, "is empty", f"give {describe(kind)}, or leave {name} out")
        elif block is not None:
            self.block(value, settings_of(block, self.task), f"{name}.")
        elif get_origin(kind) is dict:
            self.entries(value, kind, name)
        elif isinstance(value, Mapping) or isinstance(value, list) != is_list(kind):
            raise self.error(name, f"is {value!r}", f"give {describe(kind)}")
        elif isinstance(value, str) and "${" in value:
            raise self.error(name, f"{value!r} refers to something else", "write the value itself")

    def entries(self, value: Any, kind: Any, name: str) -> None:
        """What stands under free names: blocks of one kind, or single values."""
        entry = entry_of(kind)
        if not isinstance(value, Mapping):
            what = describe(entry) if entry else describe(get_args(kind)[1])
            raise self.error(name, f"is {value!r}", f"give entries by name, each {what}")
        for key, one in value.items():
            self.value(one, entry or get_args(kind)[1], f"{name}.{key}")

    def arms(self, arms: Any) -> None:
        """Arms by name; null removes one."""
        if not isinstance(arms, Mapping):
            raise self.error("arms", f"is {arms!r}", "give arms by name, as in `weak: {tier: weak}`")
        types = settings_of_arm(self.task)
        for name, arm in arms.items():
            if arm is not None:
                self.whole_run(arm, f"arms.{name}.")
                self.block(arm, types, f"arms.{name}.")

    def whole_run(self, arm: Any, prefix: str) -> None:
        """What an arm may not change."""
        run = settings_of(Config, self.task)
        for key in arm if isinstance(arm, Mapping) else ():
            if key in run and key not in ARM_BLOCKS:
                remedy = f"set it for the run; an arm may override {', '.join(ARM_BLOCKS)}"
                raise self.error(f"{prefix}{key}", "belongs to the whole run", remedy)
        for shared in SHARED:
            block, name = shared.split(".")
            if isinstance(arm, Mapping) and isinstance(arm.get(block), Mapping) and name in arm[block]:
                raise self.error(f"{prefix}{shared}", "is shared by all arms", f"set {shared} for the run")

    def remedy(self, key: str, prefix: str, types: Types) -> str:
        """The key's right place if it is a setting of another block, else a similar name here."""
        inside = prefix.split(".", 2)[2] if prefix.startswith("arms.") else prefix
        elsewhere = [name for name in dotted_names(self.task) if name.split(".")[-1] == key]
        below = [name for name in elsewhere if name.startswith(inside)]
        if below or len(elsewhere) == 1:
            return f"did you mean {(below or elsewhere)[0]}?"
        close = difflib.get_close_matches(key, types, n=1)
        return f"did you mean {prefix}{close[0]}?" if close else f"known there: {', '.join(types)}"

    def error(self, name: str, problem: str, remedy: str) -> ConfigError:
        """An error at a setting of this layer."""
        return ConfigError.at(f"{self.source}: {name}" if name else self.source, problem, remedy)
