"""The check as pictures: the sandwich (raters below, ceiling above, policies between) and the curves of PPO."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sandwiching.oversight.curves import Curve
from sandwiching.oversight.intervals import Interval
from sandwiching.oversight.outcomes import Outcomes
from sandwiching.oversight.summary import Row
from sandwiching.training.artifacts import write_atomic
from sandwiching.training.figures import COLOURS, MARKERS, STYLE, save

RATERS_COLOUR = "#777777"
PANELS = {"forced": "Right in forced choice", "free": "Right in free answers", "approval": "Approved by raters"}


def sandwich(rows: Sequence[Row], chance: float, note: str) -> Figure:
    """A panel a measure, a line a policy with its interval, and the rater line with its own as a band.

    chance: mean accuracy of a blind forced choice; note: what the intervals cover.
    """
    raters, policies = rows[0], list(rows[1:])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7, 1.8 + 0.34 * len(policies)), layout="constrained")
        panels = figure.subplots(1, len(PANELS), sharey=True)
        for axes, (measure, title) in zip(panels, PANELS.items(), strict=True):
            axes.set_title(title)
            for place, (row, colour, marker) in enumerate(zip(policies, *_styles(policies), strict=True)):
                _interval(axes, row.levels[measure], len(policies) - 1 - place, colour, marker)
            _reference(axes, measure, raters, chance)
            axes.margins(x=0.1)
            axes.locator_params(axis="x", nbins=5)
            axes.grid(axis="x", color="#e6e6e6", linewidth=0.6)
            axes.set_axisbelow(True)
            axes.set_ylim(-0.6, len(policies) - 0.4)
            axes.tick_params(axis="y", length=0)
        panels[0].set_yticks(range(len(policies))[::-1], [_name(row) for row in policies])
        figure.supxlabel(note, fontsize=8, color="#555555", x=0.01, ha="left")
    return figure


def _name(row: Row) -> str:
    added = {"floor": " (SFT)", "ceiling": " (ceiling)"}
    return row.name if row.name == "ceiling" else row.name + added.get(row.role, "")


def _styles(policies: Sequence[Row]) -> tuple[list[str], list[str]]:
    """Colours and markers, the floor black."""
    arms = iter(range(len(policies)))
    places = [None if row.role == "floor" else next(arms) for row in policies]
    return (
        ["#000000" if place is None else COLOURS[place % len(COLOURS)] for place in places],
        ["x" if place is None else MARKERS[place % len(MARKERS)] for place in places],
    )


def _interval(axes: Axes, interval: Interval, height: float, colour: str, marker: str) -> None:
    if np.isfinite(interval.low) and np.isfinite(interval.high):
        axes.plot([interval.low, interval.high], [height, height], color=colour, linewidth=1.8, solid_capstyle="butt")
    axes.plot(interval.estimate, height, marker=marker, color=colour, markersize=6, markeredgewidth=1.8)
    text, place = f"{interval.estimate:.2f}", (interval.estimate, height)
    axes.annotate(text, place, (0, 5), textcoords="offset points", ha="center", fontsize=8)


def _reference(axes: Axes, measure: str, raters: Row, chance: float) -> None:
    """The rater line where there is one (beside free answers: the raters' choice), and what a blind policy reaches."""
    line = raters.levels["forced"]
    blind, label = {
        "forced": (chance, f"dashed: raters {line.estimate:.2f}\ndotted: chance {chance:.2f}"),
        "free": (None, f"dashed: raters, given\nthe candidates {line.estimate:.2f}"),
        "approval": (0.5, "dotted: as good as\nthe floor"),
    }[measure]
    axes.set_xlabel(label, fontsize=8, color="#555555")
    if blind is not None:
        axes.axvline(blind, color=RATERS_COLOUR, linestyle=":", linewidth=1.4)
    if measure != "approval":
        axes.axvline(line.estimate, color=RATERS_COLOUR, linestyle="--", linewidth=1.4)
        if np.isfinite(line.low) and np.isfinite(line.high):
            axes.axvspan(line.low, line.high, color=RATERS_COLOUR, alpha=0.18, linewidth=0)


def save_curves(curves: Sequence[Curve], folder: Path) -> None:
    """Write curves.json and curves.svg."""
    write_atomic(folder / "curves.json", json.dumps([asdict(one) for one in curves], indent=1))
    save(curves_figure(curves), folder / "curves.svg")


def curves_figure(curves: Sequence[Curve]) -> Figure:
    """Proxy reward, KL and, where there is gold, dev correctness by updates: thin lines are seeds, thick their mean."""
    arms = list(dict.fromkeys(curve.arm for curve in curves))
    titles = ["Reward model's score (proxy)", "KL to the floor, nats a sequence"]
    if any(curve.gold for curve in curves):
        titles += ["Dev prompts: right in forced choice", "Dev prompts: right in free answers"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7, 2.3 * len(titles) / 2), layout="constrained")
        panels = list(figure.subplots(len(titles) // 2, 2, sharex=True).flat)
        for place, arm in enumerate(arms):
            runs = [curve for curve in curves if curve.arm == arm]
            colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
            gold = [([point.updates for point in run.gold], run.gold) for run in runs]
            drawn = (
                ([(run.updates, run.reward) for run in runs], ""),
                ([(run.updates, run.kl) for run in runs], ""),
                ([(at, [point.forced for point in points]) for at, points in gold], marker),
                ([(at, [point.free for point in points]) for at, points in gold], marker),
            )
            for axes, (lines, shape) in zip(panels, drawn, strict=False):
                _lines(axes, lines, colour, shape, arm)
        for axes, title in zip(panels, titles, strict=True):
            axes.set_title(title)
            axes.grid(color="#e6e6e6", linewidth=0.6)
            axes.set_axisbelow(True)
        for axes in panels[-2:]:
            axes.set_xlabel("PPO updates")
        panels[0].legend(frameon=False, fontsize=8)
    return figure


def _lines(axes: Axes, runs: Sequence[tuple[list[int], list[float]]], colour: str, marker: str, arm: str) -> None:
    if len(runs) > 1:
        for updates, values in runs:
            axes.plot(updates, values, color=colour, linewidth=0.7, alpha=0.45)
    if len({tuple(updates) for updates, _ in runs}) == 1 and runs[0][0]:
        mean = np.mean([values for _, values in runs], axis=0)
        axes.plot(runs[0][0], mean, color=colour, marker=marker, markersize=4, linewidth=1.8, label=arm)


def levels(intervals: Mapping[str, Interval], title: str, note: str) -> Figure:
    """One panel of named levels with their intervals; the dotted line is chance for a choice from two."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7, 1.4 + 0.34 * len(intervals)), layout="constrained")
        axes = figure.subplots()
        axes.set_title(title)
        for place, interval in enumerate(intervals.values()):
            colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
            _interval(axes, interval, len(intervals) - 1 - place, colour, marker)
        axes.axvline(0.5, color=RATERS_COLOUR, linestyle=":", linewidth=1.4)
        axes.set_yticks(range(len(intervals))[::-1], list(intervals))
        axes.set_ylim(-0.6, len(intervals) - 0.4)
        axes.grid(axis="x", color="#e6e6e6", linewidth=0.6)
        axes.set_axisbelow(True)
        figure.supxlabel(note, fontsize=8, color="#555555", x=0.01, ha="left")
    return figure


def mean_chance(outcomes: Outcomes) -> float:
    """Accuracy of a blind forced choice over all items."""
    return float(outcomes.chance.mean())
