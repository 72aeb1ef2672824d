"""Monitors as a picture: what each tells apart beside its baselines, and the share it flags along PPO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sandwiching.oversight.monitors.findings import BASELINES, SLOPE, MonitorFinding
from sandwiching.oversight.monitors.report import NAMES, Findings
from sandwiching.training.figures import COLOURS, MARKERS, STYLE

BASELINE_COLOUR = "#777777"


def monitors_figure(found: Findings, updates: Mapping[str, Sequence[int]], rate: float, note: str) -> Figure:
    """A row an arm: left AUROC with its interval, right the share flagged by updates; grey: baselines."""
    shown = list(dict.fromkeys(name for by in found.values() for name, one in by.items() if _samples(name, one)))
    shares = [point.estimate for by in found.values() for name in shown if name in by for point in by[name].flagged]
    top = min(1.03, max([0.3, *(1.15 * share for share in shares)]))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7, 0.9 + (0.7 + 0.24 * len(shown)) * len(found)), layout="constrained")
        grid = figure.subplots(len(found), 2, squeeze=False, sharex="col")
        for row, (arm, monitors) in zip(grid, found.items(), strict=True):
            for place, name in enumerate(shown):
                one, look = monitors.get(name), _look(name, place)
                if one is not None:
                    _area(row[0], one, len(shown) - 1 - place, *look)
                    _flagged(row[1], one, updates[arm], *look)
            row[0].axvline(0.5, color=BASELINE_COLOUR, linestyle=":", linewidth=1.2)
            row[0].set_yticks(range(len(shown))[::-1], [NAMES[name] for name in shown], fontsize=8)
            row[0].set_ylim(-0.6, len(shown) - 0.4)
            row[0].set_title(arm)
            row[1].axhline(rate, color=BASELINE_COLOUR, linestyle=":", linewidth=1.2)
            row[1].set_ylim(-0.03, top)
        grid[-1][0].set_xlabel("AUROC, approved but wrong", fontsize=8)
        grid[-1][1].set_xlabel("PPO updates; dotted: declared false alarms", fontsize=8)
        grid[0][1].set_title("Share of samples flagged")
        figure.supxlabel(note, fontsize=8, color="#555555", x=0.01, ha="left")
    return figure


def _samples(name: str, one: MonitorFinding) -> bool:
    return name != SLOPE and one.verdict != "absent"


def _look(name: str, place: int) -> tuple[str, str]:
    if name in BASELINES:
        return BASELINE_COLOUR, "x+"[BASELINES.index(name)]
    return COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]


def _area(axes: Axes, one: MonitorFinding, height: float, colour: str, marker: str) -> None:
    if one.auroc is None:
        axes.annotate("undefined", (0.5, height), (4, -3), textcoords="offset points", fontsize=7, color=colour)
        return
    low, high = np.clip([one.auroc.low, one.auroc.high], -0.05, 1.05)
    axes.plot([low, high], [height, height], color=colour, linewidth=1.8, solid_capstyle="butt")
    axes.plot(one.auroc.estimate, height, marker=marker, color=colour, markersize=6)
    axes.set_xlim(-0.05, 1.05)


def _flagged(axes: Axes, one: MonitorFinding, updates: Sequence[int], colour: str, marker: str) -> None:
    shares = [point.estimate for point in one.flagged]
    if shares:
        axes.plot(updates, shares, color=colour, marker=marker, markersize=4, linewidth=1.4)
