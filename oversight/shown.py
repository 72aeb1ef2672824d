"""Tables as data: what check.txt and monitor.txt print, for a page that is made without the code that measured it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

FILE = "tables.json"


def shown(topics: Mapping[str, Sequence[RenderableType]]) -> list[dict[str, Any]]:
    """In order, under their topic: {topic, title, columns, rows, ends} of a table, {topic, text} of a text.

    ends: places of rows that end a block. Raises TypeError for what is neither table nor text.
    """
    return [{"topic": topic, **one} for topic, parts in topics.items() for part in parts for one in _flat(part)]


def _flat(part: RenderableType) -> list[dict[str, Any]]:
    if isinstance(part, Group):
        return [one for inner in part.renderables for one in _flat(inner)]
    if isinstance(part, Text):
        return [{"text": part.plain.strip()}]
    if not isinstance(part, Table):
        raise TypeError(f"neither a table nor a text: {part!r:.80}")
    columns = [[_plain(cell) for cell in column.cells] for column in part.columns]
    return [
        {
            "title": str(part.title),
            "columns": [str(column.header) for column in part.columns],
            "rows": [list(row) for row in zip(*columns, strict=True)],
            "ends": [place for place, row in enumerate(part.rows) if row.end_section],
        }
    ]


def _plain(cell: RenderableType) -> str:
    return cell.plain if isinstance(cell, Text) else str(cell)
