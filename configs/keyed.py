"""What of a block enters a stage's key. A setting says so itself, in its field's metadata."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

HOW: Mapping[str, str] = {"key": "never"}
"""Metadata of a setting that says how or where something is computed, not what."""

UNLESS_DEFAULT: Mapping[str, str] = {"key": "unless default"}
"""Metadata of a setting whose default leaves the result as it was before there was such a setting."""


JUDGING: Mapping[str, str] = {"key": "judging"}
"""Metadata of a task's setting that says how its raters judge: it enters the keys of stages that ask them, no others.
Arms whose raters differ in such settings alone share their SFT policy and the pairs that are judged."""


def key_settings(value: Any, judging: bool = True) -> Any:
    """A block as plain values, without the settings that enter no key; judging: of a stage that asks raters."""
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        kept = (field for field in fields if not _left_out(field, getattr(value, field.name), judging))
        return {field.name: key_settings(getattr(value, field.name), judging) for field in kept}
    if isinstance(value, dict):
        return {name: key_settings(one, judging) for name, one in value.items()}
    return [key_settings(one, judging) for one in value] if isinstance(value, list | tuple) else value


def _left_out(field: dataclasses.Field, value: Any, judging: bool) -> bool:
    rule = field.metadata.get("key")
    if rule == JUDGING["key"]:
        return not judging
    if rule != UNLESS_DEFAULT["key"]:
        return rule == HOW["key"]
    made = field.default_factory is not dataclasses.MISSING
    return value == (field.default_factory() if made else field.default)  # pyright: ignore[reportCallIssue]
