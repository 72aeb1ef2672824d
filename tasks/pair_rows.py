"""Pairs to be judged, from a file: what the stage `pairs` writes, or any JSONL of two responses to a prompt.

Columns: prompt, response_a, response_b; optional id (or pair), group, kind, prompt_id, finished_a, finished_b. For
experts alone: source (what the prompt is about), references (a right answer, or a list of them). For gold questions:
answer (a, b or tie: the verdict that is known to be right).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from sandwiching.tasks.columns import ColumnError, boolean, optional_string, string, text
from sandwiching.tasks.judgements import prompt_id
from sandwiching.tasks.readers import numbered_lines, parsed
from sandwiching.tasks.records import Pair, Preference, Prompt

SHOWN = 20
"""Bad rows that an error lists."""


@dataclass(frozen=True, slots=True)
class PairRow:
    """A pair, whether its responses were ended by end-of-text, and what is known of it that raters may not see."""

    pair: Pair
    finished_a: bool = True
    finished_b: bool = True
    source: str | None = None
    references: tuple[str, ...] = ()
    answer: Preference | None = None


def read_pair_rows(path: Path) -> list[PairRow]:
    """The pairs of a JSONL file (gzip allowed), each once, in its order. A file of judgements holds pairs too.

    Raises ValueError naming file, line, column and remedy (the first 20 bad rows), or when there is no pair in it.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist; give a JSONL file of pairs")
    found: dict[str, PairRow] = {}
    bad: list[str] = []
    for line, raw in numbered_lines(path):
        try:
            row = _pair_row(parsed(raw))
            known = found.setdefault(row.pair.id, row)
            if not _same(known.pair, row.pair):
                raise ColumnError("id", f"{row.pair.id!r} is another pair in an earlier line; give each its own")
        except ColumnError as error:
            bad.append(f"  {path}:{line}: {error}")
    if bad:
        more = [f"  ... and {len(bad) - SHOWN} more"] if len(bad) > SHOWN else []
        raise ValueError("\n".join([f"{path}: {len(bad)} rows cannot be read; mend them", *bad[:SHOWN], *more]))
    if not found:
        raise ValueError(f"{path}: the file is empty; it needs one pair a line")
    return list(found.values())


def _same(one: Pair, other: Pair) -> bool:
    """Whichever response stands first: a file of judgements may have both orders."""
    sides = {one.response_a, one.response_b} == {other.response_a, other.response_b}
    return sides and one.prompt == other.prompt


def _pair_row(row: Mapping[str, Any]) -> PairRow:
    asked = text(row, "prompt")
    response_a, response_b = string(row, "response_a"), string(row, "response_b")
    question = optional_string(row, "prompt_id") or prompt_id(asked)
    answer = row.get("answer")
    if answer is not None and answer not in ("a", "b", "tie"):
        raise ColumnError("answer", f"must be a, b or tie, is {answer!r:.60}")
    name = optional_string(row, "id") or optional_string(row, "pair") or _digest(question, response_a, response_b)
    group = optional_string(row, "group") or question
    return PairRow(
        pair=Pair(
            name, Prompt(question, asked, group, optional_string(row, "kind") or "pairs"), response_a, response_b
        ),
        finished_a=boolean(row, "finished_a"),
        finished_b=boolean(row, "finished_b"),
        source=optional_string(row, "source"),
        references=_references(row),
        answer=cast(Preference | None, answer),
    )


def _references(row: Mapping[str, Any]) -> tuple[str, ...]:
    value = row.get("references")
    if value is None:
        return ()
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise ColumnError("references", f"must be a string or a list of strings, is {value!r:.60}")
    return tuple(listed)


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()[:16]
