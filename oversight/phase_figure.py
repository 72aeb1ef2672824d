"""The phase diagram as a picture and as a Markdown table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sandwiching.configs.schema import Config
from sandwiching.oversight.expert_store import Standing
from sandwiching.oversight.phase import (
    ABOVE,
    FOOLS,
    GAINS,
    INCONCLUSIVE,
    NEITHER,
    WIDEST,
    Cell,
    cells_of,
    doses,
    phase_record,
)
from sandwiching.oversight.summary import jsonable, signed
from sandwiching.oversight.trails import Trail, trail
from sandwiching.training.artifacts import write_atomic
from sandwiching.training.figures import STYLE, save


@dataclass(frozen=True, slots=True)
class Claim:
    """Under which look and conditions a check's numbers stand."""

    standing: Standing
    conditions: str

    @property
    def said(self) -> str:
        """Both; it begins with INVALID past the budget."""
        return f"{self.standing.sentence} {self.conditions}"


TINTS = {FOOLS: "#f6c9b8", ABOVE: "#bfe3cf", GAINS: "#e4f2d5", NEITHER: "#ececec", INCONCLUSIVE: "#ffffff"}
BORDER = 2.6
"""Width of the line between cells that fool and cells that do not."""


def phase_figure(cells: Sequence[Cell], trails: Mapping[str, Any], note: str) -> Figure:
    """A panel a cell, tinted by its verdict: right answers on dev prompts along sqrt(KL) of the run, and its fooling.

    Rows: competence of the raters, the highest above; columns: bias. Thick edges: where fooling begins.
    """
    rows = sorted({cell.place.competence for cell in cells}, reverse=True)
    columns = sorted({cell.place.bias for cell in cells})
    at = {(cell.place.competence, cell.place.bias): cell for cell in cells}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.0 + 1.75 * len(columns), 1.5 + 1.55 * len(rows)), layout="constrained")
        grid = figure.subplots(len(rows), len(columns), sharex=True, sharey=True, squeeze=False)
        for i, competence in enumerate(rows):
            for j, bias in enumerate(columns):
                axes, cell = grid[i][j], at.get((competence, bias))
                if cell is None:
                    axes.set_axis_off()
                    continue
                _panel(axes, cell, trail(trails, cell.place.arm))
                beside = {"left": (i, j - 1), "right": (i, j + 1), "top": (i - 1, j), "bottom": (i + 1, j)}
                for side, (row, column) in beside.items():
                    inside = 0 <= row < len(rows) and 0 <= column < len(columns)
                    other = at.get((rows[row], columns[column])) if inside else None
                    _edge(axes, side, cell, other)
                if i == 0:
                    axes.set_title(f"bias {bias:g}", fontsize=9)
                if j == 0:
                    axes.set_ylabel(f"raters know {competence:g}\nright (dev)", fontsize=8)
                if i == len(rows) - 1:
                    axes.set_xlabel("√KL (√nats)", fontsize=8)
        _legend(figure, note)
    return figure


def _panel(axes: Axes, cell: Cell, run: Trail) -> None:
    axes.set_facecolor(TINTS[cell.verdict])
    right_ST = 1 - run.wrong_STN.mean(2)
    for distance_T, right_T in zip(run.distance_ST, right_ST, strict=True):
        axes.plot(distance_T, right_T, color="#333333", linewidth=0.6, alpha=0.5)
    axes.plot(run.distance_ST.mean(0), right_ST.mean(0), color="#000000", linewidth=1.6, marker="o", markersize=2.5)
    axes.axhline(cell.line, color="#777777", linestyle="--", linewidth=1)
    text = f"{cell.over_null.estimate:+.2f} ± {cell.half_width:.2f}"
    axes.text(0.04, 0.95, text, transform=axes.transAxes, va="top", fontsize=8, fontweight="bold")
    if cell.verdict == INCONCLUSIVE:
        axes.text(0.04, 0.8, "INCONCLUSIVE", transform=axes.transAxes, va="top", fontsize=7)
    axes.set_ylim(0, 1.18)
    axes.set_yticks([0, 0.5, 1])
    axes.tick_params(labelsize=7)


def _edge(axes: Axes, side: str, cell: Cell, other: Cell | None) -> None:
    spine = axes.spines[side]
    spine.set_visible(True)
    verdicts = [cell.verdict] if other is None else [cell.verdict, other.verdict]
    border = INCONCLUSIVE not in verdicts and len({verdict == FOOLS for verdict in verdicts}) == 2
    spine.set_linewidth(BORDER if border else 0.5)
    spine.set_color("#000000" if border else "#bbbbbb")


def _legend(figure: Figure, note: str) -> None:
    drawn = [Patch(facecolor=colour, edgecolor="#999999", label=name) for name, colour in TINTS.items()]
    drawn += [
        Line2D([], [], color="#000000", marker="o", markersize=2.5, label="policy, dev prompts"),
        Line2D([], [], color="#777777", linestyle="--", label="raters' own choice"),
        Line2D([], [], color="#000000", linewidth=BORDER, label="where fooling begins"),
    ]
    figure.legend(handles=drawn, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    figure.suptitle(note, fontsize=8, color="#555555")


def phase_table(cells: Sequence[Cell]) -> str:
    """Markdown: a row a cell, then how fooling goes with bias and competence."""
    lines = [
        "| raters know | bias | verdict | fooling over null | half-width | fooling | null | gain, free | above raters "
        "| KL | null's |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {cell.place.competence:g} | {cell.place.bias:g} | {cell.verdict} | {signed(cell.over_null)} | "
        f"{cell.half_width:.3f} | {signed(cell.fooled)} | {signed(cell.null_fooled)} | {signed(cell.gain)} | "
        f"{signed(cell.above)} | {cell.kl:.2f} | {cell.kl_null:.2f} |"
        for cell in cells
    ]
    lines += ["", "| along | at | fooling over null, level by level | every step as expected |", "|---|---|---|---|"]
    for dose in doses(cells):
        steps = ", ".join(f"{level:g}: {value:+.3f}" for level, value in zip(dose.levels, dose.fooled, strict=True))
        other = "competence" if dose.along == "bias" else "bias"
        lines.append(f"| {dose.along} | {other} {dose.at:g} | {steps} | {'yes' if dose.ordered else 'NO'} |")
    decided = sum(cell.verdict != INCONCLUSIVE for cell in cells)
    return "\n".join(lines) + f"\n\n{decided} of {len(cells)} cells are conclusive (half-width at most {WIDEST:g}).\n"


def write_phase(
    config: Config, record: Mapping[str, Any], trails: Mapping[str, Any], folder: Path, claim: Claim
) -> str:
    """Judge every cell; write phase.json, phase.md and phase.svg. Returns the table.

    record: check.json; trails: trails.json; claim: of the check, which stands on each.
    """
    cells = cells_of(config, record)
    table = f"{claim.said}\n\n{phase_table(cells)}"
    note = (
        f"Fooling over the null in each panel; {len(record['items'])} held-out prompts, {len(config.seeds)} seeds; "
        f"{100 * config.check.confidence:g} % intervals; {cells[0].over_null.covers}"
    )
    if not claim.standing.valid:
        note = f"INVALID: past the budget of looks. {note}"
    head = {"invalid": not claim.standing.valid, "claim": claim.said}
    write_atomic(folder / "phase.json", json.dumps(jsonable({**head, **phase_record(config, cells)})))
    write_atomic(folder / "phase.md", table)
    save(phase_figure(cells, trails, note), folder / "phase.svg")
    return table
