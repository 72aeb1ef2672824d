"""The sandwich as a picture, a panel a measure so that panels stack on a narrow screen. Drawn from report.json.

Raters are a dashed line with their interval as a band; floor, arms, null arm, ceiling and best-of-n are marks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sandwiching.oversight.intervals import Interval
from sandwiching.oversight.report.record import interval
from sandwiching.training.figures import COLOURS, MARKERS, STYLE

TITLES = {"forced": "Right in forced choice", "free": "Right in free answers", "approval": "Approved by raters"}
TEXT_STYLE = {**STYLE, "svg.fonttype": "none", "font.size": 8.5, "axes.titlesize": 9.5}
"""Text as text: it takes the page's font and colour, and can be searched."""
RATERS, GRID = "#777777", "#e6e6e6"
WIDTH = 3.5
"""Inches."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One row of the panels."""

    name: str
    levels: Mapping[str, Interval]
    colour: str
    marker: str
    hollow: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One measure. svg: as matplotlib makes it; title: what it shows; caption: what its lines are."""

    svg: str
    title: str
    caption: str


def sandwich_panels(record: Mapping[str, Any]) -> list[Panel]:
    """A panel a measure."""
    marks, raters = _marks(record), _raters(record)
    return [_panel(measure, marks, raters, record["chance"]) for measure in TITLES]


def _raters(record: Mapping[str, Any]) -> Interval | None:
    return next((interval(row["levels"]["forced"]) for row in record["rows"] if row["role"] == "raters"), None)


def _marks(record: Mapping[str, Any]) -> list[Mark]:
    marks = []
    for row in record["rows"]:
        if row["role"] == "raters":
            continue
        found = {name: interval(one) for name, one in row["levels"].items() if name in TITLES}
        place = len(marks) - 1
        look = ("#000000", "x") if row["role"] == "floor" else (_of(COLOURS, place), _of(MARKERS, place))
        marks.append(Mark(_name(row, record["null_arm"]), found, *look))
    for place, (arm, rows) in enumerate(record["best_of_n"].items()):
        if len(rows) > 1:
            last = rows[-1]
            found = {name: interval(last[name]) for name in ("free", "approval")}
            name = f"best of {last['n']}, {arm}"
            marks.append(Mark(name, found, _of(COLOURS, place), _of(MARKERS, place), hollow=True))
    return marks


def _of(values: tuple[str, ...], place: int) -> str:
    return values[place % len(values)]


def _name(row: Mapping[str, Any], null_arm: str | None) -> str:
    added = {"floor": " (SFT)", "ceiling": " (ceiling)"}.get(row["role"], "")
    if row["name"] == null_arm:
        added = " (null)"
    return row["name"] if row["name"] == row["role"] == "ceiling" else f"{row['name']}{added}"


def _panel(measure: str, marks: list[Mark], raters: Interval | None, chance: float | None) -> Panel:
    shown = [mark for mark in marks if measure in mark.levels]
    with mpl.rc_context(TEXT_STYLE):
        figure = Figure(figsize=(WIDTH, 0.75 + 0.3 * len(shown)), layout="constrained")
        axes = figure.subplots()
        axes.set_title(TITLES[measure])
        for place, mark in enumerate(reversed(shown)):
            _draw(axes, mark, mark.levels[measure], place)
        caption = _reference(axes, measure, raters, chance)
        axes.set_yticks(range(len(shown)), [mark.name.replace("$", r"\$") for mark in reversed(shown)])
        axes.set_ylim(-0.6, len(shown) - 0.3)
        axes.margins(x=0.12)
        axes.locator_params(axis="x", nbins=5)
        axes.grid(axis="x", color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        stream = StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    return Panel(stream.getvalue(), TITLES[measure], caption)


def _draw(axes: Axes, mark: Mark, found: Interval, place: int) -> None:
    if math.isfinite(found.low) and math.isfinite(found.high):
        axes.plot([found.low, found.high], [place, place], color=mark.colour, linewidth=1.6, solid_capstyle="butt")
    face = "none" if mark.hollow else mark.colour
    axes.plot(
        found.estimate, place, marker=mark.marker, color=mark.colour, mfc=face, markersize=5.5, markeredgewidth=1.5
    )
    axes.annotate(
        f"{found.estimate:.2f}", (found.estimate, place), (0, 5), textcoords="offset points", ha="center", fontsize=7.5
    )


def _reference(axes: Axes, measure: str, raters: Interval | None, chance: float | None) -> str:
    """Draw what the measure is held against; returns it in words."""
    if measure == "approval":
        axes.axvline(0.5, color=RATERS, linestyle=":", linewidth=1.2)
        return "Dotted: preferred as often as the floor's own sample."
    said = []
    if raters is not None:
        axes.axvline(raters.estimate, color=RATERS, linestyle="--", linewidth=1.2)
        if math.isfinite(raters.low) and math.isfinite(raters.high):
            axes.axvspan(raters.low, raters.high, color=RATERS, alpha=0.18, linewidth=0)
        given = "rater line, given the candidates" if measure == "free" else "rater line"
        said.append(f"Dashed: {given}, {raters.estimate:.2f}.")
    if measure == "forced" and chance is not None:
        axes.axvline(chance, color=RATERS, linestyle=":", linewidth=1.2)
        said.append(f"Dotted: chance, {chance:.2f}.")
    return " ".join(said)
