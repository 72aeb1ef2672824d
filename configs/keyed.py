"""What of a block enters a stage's key. A setting says so itself, in its field's metadata."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

HOW: Mapping[str, str] = {"key": "never"}
"""Metadata of a setting that says how or where something is computed, not what."""

UNLESS_DEFAULT: Mapping[str, str] = {"key": "unless default"}
"""Metadata of a setting whose default leaves the result as it was before there was such a setting."""


def key_settings(value: Any) -> Any:
    """A block as plain values, without the settings that enter no key."""
    if dataclasses.is_dataclass(value):
        kept = (field for field in dataclasses.fields(value) if not _left_out(field, getattr(value, field.name)))
        return {field.name: key_settings(getattr(value, field.name)) for field in kept}
    if isinstance(value, dict):
        return {name: key_settings(one) for name, one in value.items()}
    return [key_settings(one) for one in value] if isinstance(value, list | tuple) else value


def _left_out(field: dataclasses.Field, value: Any) -> bool:
    rule = field.metadata.get("key")
    if rule != UNLESS_DEFAULT["key"]:
        return rule == HOW["key"]
    made = field.default_factory is not dataclasses.MISSING
    return value == (field.default_factory() if made else field.default)  # pyright: ignore[reportCallIssue]
