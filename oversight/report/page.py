"""One self-contained HTML file of the runs' sections.

Everything that is not ours (model text, rater text, names) is escaped by the template, and what would act on the text
around it is shown by its number; figures alone are markup.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from sandwiching.oversight.report.sections import RunPage
from sandwiching.oversight.report.tables import compared
from sandwiching.oversight.report.visible import visible

TEMPLATES = Path(__file__).parent / "templates"


def html(pages: Sequence[RunPage], records: Sequence[Mapping[str, Any]], title: str, notes: Sequence[str] = ()) -> str:
    """The whole page. notes: what is not on it, and why."""
    table = compared(records) if len(records) > 1 else None
    template = _environment().get_template("page.html")
    return template.render(title=title, pages=pages, compared=table, notes=notes)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.tests["number"] = _number
    environment.filters["minus"] = _minus
    return environment


def _finalize(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _minus(text: str) -> str:
    """With minus signs, which are as wide as plus signs."""
    return re.sub(r"(?<![\w.])-(?=[\d.])|^-$", lambda found: "\u2013" if text == "-" else "\u2212", text)


def _number(cell: str) -> bool:
    """Whether a cell begins as a number does: such are set in figures of equal width and are not wrapped."""
    return len(cell) < 40 and (cell[:1].isdigit() or (cell[:1] in "+-" and cell[1:2].isdigit()))
