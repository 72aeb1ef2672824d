"""Typed access to the columns of one row; a wrong one raises ColumnError. Rater ids are hashed here."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from sandwiching.tasks.records import TIERS, Judgement, Text, Tier

Row = Mapping[str, Any]

_HASHED = re.compile(r"r-[0-9a-f]{12}")


class ColumnError(ValueError):
    """A row that cannot be read: which column, what is wrong with it, and what would be right."""

    def __init__(self, column: str, problem: str) -> None:
        super().__init__(f"{column}: {problem}")


@dataclass(frozen=True, slots=True)
class Defaults:
    """What stands in for columns that a schema lacks (data.tier, data.rater)."""

    tier: str | None = None
    rater: str | None = None


def hash_rater(name: str) -> str:
    """A stable short hash of a rater's id; one that is hashed already stays."""
    if _HASHED.fullmatch(name):
        return name
    return "r-" + hashlib.sha256(f"sandwiching rater {name}".encode()).hexdigest()[:12]


def prompt_id(text: Text) -> str:
    """A stable short id of a prompt: equal texts, equal ids."""
    return hashlib.sha256(json.dumps(text, ensure_ascii=False).encode()).hexdigest()[:16]


def pair_id(prompt: str, one: str, other: str) -> str:
    """A stable short id of two responses, in alphabetical order, to the prompt of an id."""
    return hashlib.sha256("\0".join((prompt, one, other)).encode()).hexdigest()[:16]


PairKey = tuple[str, str, str, str]
"""What makes two judgements be of one pair: id of the prompt, responses in alphabetical order, id of the pair or ""."""


def pair_key(judgement: Judgement) -> PairKey:
    """Of a judgement, whichever way around its responses stand."""
    one, other = sorted((judgement.response_a, judgement.response_b))
    return prompt_id(judgement.prompt), one, other, judgement.pair or ""


def first_votes(judgements: Iterable[Judgement]) -> list[Judgement]:
    """Of one rater's judgements of one pair the first; the others are no new evidence."""
    found: dict[tuple[PairKey, str], Judgement] = {}
    for one in judgements:
        found.setdefault((pair_key(one), one.rater), one)
    return list(found.values())


def required(row: Row, column: str, remedy: str = "add the column") -> Any:
    """The value of a column. Raises ColumnError when it is absent or null."""
    value = row.get(column)
    if value is None:
        raise ColumnError(column, f"missing; {remedy}")
    return value


def string(row: Row, column: str, remedy: str = "add the column") -> str:
    """A column that must be a string."""
    value = required(row, column, remedy)
    if not isinstance(value, str):
        raise ColumnError(column, f"must be a string, is {value!r:.60}")
    return value


def optional_string(row: Row, column: str) -> str | None:
    """A column that may be absent; numbers are written out."""
    value = row.get(column)
    return value if value is None else str(value)


def number(row: Row, column: str, low: float = -math.inf, high: float = math.inf) -> float | None:
    """A finite number within low..high, or None where the column is absent."""
    value = row.get(column)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ColumnError(column, f"must be a number, is {value!r:.60}")
    if not low <= value <= high:
        raise ColumnError(column, f"must lie in {low:g}..{high:g}, is {value:g}")
    return float(value)


def text(row: Row, column: str) -> Text:
    """A prompt: a non-empty string, or chat messages."""
    value = required(row, column)
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, list) and value:
        return messages(value, column)
    raise ColumnError(column, f"must be a non-empty string or a list of messages, is {value!r:.60}")


def messages(value: list[Any], column: str) -> tuple[dict[str, str], ...]:
    """Chat messages, each with a string `role` and a string `content` and nothing else."""
    for message in value:
        if not isinstance(message, dict) or not all(isinstance(message.get(key), str) for key in ("role", "content")):
            raise ColumnError(column, f"each message needs a string role and a string content, found {message!r:.60}")
    return tuple({"role": message["role"], "content": message["content"]} for message in value)


def rater_and_tier(row: Row, defaults: Defaults, rater_column: str = "rater") -> tuple[str, Tier]:
    """Hashed id and tier, from the row or else from the defaults."""
    name = row.get(rater_column)
    name = defaults.rater if name is None or name == "" else name
    if name is None:
        raise ColumnError(rater_column, "missing; add who judged, or set data.rater for the whole file")
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise ColumnError(rater_column, f"must be a string, is {name!r:.60}")
    tier = row.get("tier")
    tier = defaults.tier if tier is None or tier == "" else tier
    if tier is None:
        raise ColumnError("tier", "missing; add weak or expert, or set data.tier for the whole file")
    if tier not in TIERS:
        raise ColumnError("tier", f"must be weak or expert, is {tier!r:.60}")
    return hash_rater(str(name)), cast(Tier, tier)


def boolean(row: Row, column: str) -> bool:
    """True where the column is absent."""
    value = row.get(column)
    if value is not None and not isinstance(value, bool):
        raise ColumnError(column, f"must be true or false, is {value!r:.60}")
    return value is not False
