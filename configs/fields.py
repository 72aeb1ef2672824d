"""What the dataclasses of schema.py say about their settings: types, names, and both in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from sandwiching.configs.schema import ArmConfig, Config, TaskConfig

Types = dict[str, Any]

ARM_BLOCKS = ("task", "sft", "pairs", "judgements", "labels", "reward_model", "ppo")
"""Blocks that an arm may override; the others belong to the whole run."""


@cache
def _hints(block: type) -> Types:
    return get_type_hints(block)


def settings_of(block: type, task: type[TaskConfig]) -> Types:
    """Type of each setting of a block; `task` is the dataclass of the run's task."""
    return {**_hints(block), "task": task} if block is Config else _hints(block)


def settings_of_arm(task: type[TaskConfig]) -> Types:
    """An arm in YAML: its own settings, and the blocks it may override."""
    own = {name: kind for name, kind in _hints(ArmConfig).items() if name != "overrides"}
    run = settings_of(Config, task)
    return {**own, **{name: run[name] for name in ARM_BLOCKS}}


def block_of(kind: Any) -> type | None:
    """The dataclass in `kind` (which may be optional), or None."""
    blocks = [part for part in (kind, *get_args(kind)) if isinstance(part, type) and dataclasses.is_dataclass(part)]
    return blocks[0] if blocks and get_origin(kind) is not dict else None


def entry_of(kind: Any) -> type | None:
    """The dataclass of each entry where `kind` is a block of blocks by name (dict[str, Block]), or None."""
    inner = get_args(kind)[1] if get_origin(kind) is dict else None
    return inner if isinstance(inner, type) and dataclasses.is_dataclass(inner) else None


def is_optional(kind: Any) -> bool:
    """Whether null is allowed."""
    return type(None) in get_args(kind)


def is_list(kind: Any) -> bool:
    """Whether a list is asked for."""
    return list in (get_origin(kind), *(get_origin(part) for part in get_args(kind)))


def describe(kind: Any) -> str:
    """A type in words."""
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    if kind in words:
        return words[kind]
    if get_origin(kind) is list:
        return f"a list, each {describe(get_args(kind)[0])}"
    if is_optional(kind):
        return f"{describe(get_args(kind)[0])} or null"
    block = block_of(kind)
    return f"a block of settings ({', '.join(_hints(block))})" if block else "a block of settings"


def dotted_names(task: type[TaskConfig], block: type = Config, prefix: str = "") -> Iterator[str]:
    """Every setting of a run outside its arms, as `ppo.kl.coefficient`."""
    for name, kind in settings_of(block, task).items():
        yield f"{prefix}{name}"
        inner = block_of(kind)
        if inner is not None:
            yield from dotted_names(task, inner, f"{prefix}{name}.")


def type_at(key: str, task: type[TaskConfig]) -> Any:
    """Type of the setting with a dotted name; a list's index (`seeds[0]`) is ignored."""
    kind: Any = Config
    for part in key.partition("[")[0].split("."):
        if (entry := entry_of(kind)) is not None and entry is not ArmConfig:
            kind = entry
            continue
        block = block_of(kind)
        kind = str if block is None else settings_of(block, task)[part]
    return kind
