"""The held-out evaluation of a reward model as pictures: is it as sure as it is right, and where is it right?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sandwiching.reward_model.reliability.records import wilson_interval
from sandwiching.training.figures import COLOURS, STYLE, save

CHANCE = "#777777"
MOST_GROUPS = 30
Row = Mapping[str, Any]


def save_evaluation(evaluation: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write an SVG for each part of evaluation.json that has data; returns the files."""
    folder.mkdir(exist_ok=True)
    files = []
    for name, figure in figures(evaluation).items():
        files.append(folder / f"{name}.svg")
        save(figure, files[-1])
    return files


def figures(evaluation: Mapping[str, Any]) -> dict[str, Figure]:
    """By name: calibration, margin, vote_lead, skill_quartile, group."""
    found: dict[str, Figure] = {}
    if evaluation["calibration"] is not None:
        found["calibration"] = reliability_diagram(evaluation["calibration"])
    margins = [(_margin(row), row["accuracy"], row["judgements"]) for row in evaluation["by_margin"]]
    leads = [(str(row["lead"]), row["accuracy"], row["pairs"]) for row in evaluation["by_vote_lead"]]
    skills = [
        (f"{place}: {row['skill_low']:.2f} to {row['skill_high']:.2f}", row["accuracy"], row["judgements"])
        for place, row in enumerate(evaluation["by_skill_quartile"], start=1)
    ]
    groups = [(name or "(none)", row["accuracy"], row["judgements"]) for name, row in evaluation["by_group"].items()]
    groups = sorted(sorted(groups, key=lambda row: -row[2])[:MOST_GROUPS], key=lambda row: row[1])
    for name, rows, title, label in (
        ("margin", margins, "Agreement by the model's own margin", "score difference, deviations of the references"),
        ("vote_lead", leads, "Agreement with the majority by its lead", "votes that the majority is ahead by"),
        ("skill_quartile", skills, "Agreement by skill of the rater", "quartile of skill, learned without experts"),
        ("group", groups, "Agreement by group", ""),
    ):
        if rows:
            found[name] = accuracies(rows, title, label)
    return found


def _margin(row: Row) -> str:
    return f"{row['low']:g} +" if row["high"] is None else f"{row['low']:g} to {row['high']:g}"


def reliability_diagram(calibration: Mapping[str, Any]) -> Figure:
    """Share right by confidence, before and after the temperature; on the dashed line a model is as sure as right."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7, 3.6), layout="constrained")
        axes = figure.subplots()
        axes.set_title("Held-out weak judgements: as sure as right?")
        axes.plot([0.5, 1], [0.5, 1], color=CHANCE, linestyle="--", linewidth=1)
        temperature = calibration["temperature"]
        for place, (name, label) in enumerate((("raw", "raw"), ("scaled", f"temperature {temperature:.2f}"))):
            scores = calibration[name]
            said = f"{label}: ECE {scores['ece']:.3f}, Brier {scores['brier']:.3f}, NLL {scores['nll']:.3f}"
            at = [one["confidence"] for one in scores["bins"]]
            right = [one["accuracy"] for one in scores["bins"]]
            axes.plot(at, right, color=COLOURS[place], marker="os"[place], markersize=5, linewidth=1.4, label=said)
        axes.set_xlabel(f"confidence, bins of equal mass over {calibration['judgements']} judgements")
        axes.set_ylabel("share right, ties half")
        axes.legend(frameon=False, fontsize=8, loc="upper left")
        _grid(axes, "both")
    return figure


def accuracies(rows: Sequence[tuple[str, float, int]], title: str, label: str) -> Figure:
    """A line a bin: (name, share right, number), with Wilson's 95 % interval, which knows of no clusters."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7, 1.3 + 0.3 * len(rows)), layout="constrained")
        axes = figure.subplots()
        axes.set_title(title)
        counts = np.array([count for _, _, count in rows], dtype=float)
        low_R, high_R = wilson_interval(counts * [accuracy for _, accuracy, _ in rows], counts)
        for place, (_, accuracy, _) in enumerate(rows):
            axes.plot([low_R[place], high_R[place]], [place, place], color=COLOURS[0], linewidth=1.8)
            axes.plot(accuracy, place, marker="o", color=COLOURS[0], markersize=5)
            axes.annotate(
                f"{accuracy:.2f}", (accuracy, place), (0, 5), textcoords="offset points", ha="center", fontsize=8
            )
        axes.axvline(0.5, color=CHANCE, linestyle=":", linewidth=1.4)
        axes.set_yticks(range(len(rows)), [f"{name}  (n = {count})" for name, _, count in rows])
        axes.set_ylim(-0.6, len(rows) - 0.2)
        axes.set_xlim(-0.02, 1.02)
        axes.set_xlabel("share right, ties half" + (f"\nby {label}" if label else ""))
        _grid(axes, "x")
    return figure


def _grid(axes: Axes, axis: Any) -> None:
    axes.grid(axis=axis, color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
