"""The findings of monitors as a table, as plain text, as JSON and as flat metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from sandwiching.oversight.intervals import Interval
from sandwiching.oversight.monitors.alarms import Lead
from sandwiching.oversight.monitors.findings import SLOPE, MonitorFinding
from sandwiching.oversight.monitors.fitting import DISTANCE, LENGTH, RANDOM, SPREAD
from sandwiching.oversight.summary import jsonable, level, signed
from sandwiching.oversight.table import NONE, add_row, new_table

VERSION = 1
LEADS = "lead, updates"
MOST_POINTS = 5
"""Along a run, in the table."""
NAMES = {
    "probe_weak": "probe, weak labels",
    "probe_expert": "probe, expert labels",
    DISTANCE: "reward-model distance",
    SPREAD: "ensemble spread",
    SLOPE: "proxy-length slope",
    LENGTH: "length (baseline)",
    RANDOM: "random labels (baseline)",
}
Findings = Mapping[str, Mapping[str, MonitorFinding]]
"""By arm, by monitor."""


def render(found: Findings, updates: Mapping[str, Sequence[int]], rate: float) -> RenderableType:
    """A table an arm, and under it what could not be had."""
    parts: list[RenderableType] = [
        Text(
            f"Monitors. A sample is flagged above the threshold that {100 * rate:g} % of SFT's samples pass, "
            "calibrated on other groups' dev prompts. No signal: not told to be better than length. Lead: updates from "
            "the first alarm to the first fooling or fall of gold below the floor, by seed.\n"
        )
    ]
    for arm, monitors in found.items():
        parts += [arm_table(arm, monitors, updates[arm]), *_notes(monitors)]
    return Group(*parts)


def arm_table(arm: str, monitors: Mapping[str, MonitorFinding], updates: Sequence[int]) -> RenderableType:
    """A row a monitor."""
    points = shown_points(len(updates))
    columns = (
        "monitor",
        "AUROC, approved\nbut wrong",
        "over length",
        "AUROC, wrong\nif approved",
        "flagged at\n" + " ".join(f"{updates[point]:>4}" for point in points),
        LEADS,
        "",
    )
    table = new_table(f"{arm}: the finished policy's samples on dev prompts", columns)
    table.columns[columns.index(LEADS)].no_wrap = True
    for name, one in monitors.items():
        flagged = " ".join(f"{one.flagged[point].estimate:4.2f}" for point in points) if one.flagged else NONE
        leads = "\n".join("not calibrated" if lead is None else lead.sentence for lead in one.leads) or NONE
        areas = [_level(one.auroc), _signed(one.over_length), _level(one.wrong_if_approved)]
        add_row(table, [NAMES[name], *areas, flagged, leads, one.verdict])
    return table


def shown_points(count: int) -> list[int]:
    """Places of at most MOST_POINTS points, evenly from first to last."""
    shown = min(count, MOST_POINTS)
    return [round(place * (count - 1) / max(shown - 1, 1)) for place in range(shown)]


def _level(interval: Interval | None) -> str:
    return NONE if interval is None else level(interval, "\n")


def _signed(interval: Interval | None) -> str:
    return NONE if interval is None else signed(interval, "\n")


def _notes(monitors: Mapping[str, MonitorFinding]) -> list[RenderableType]:
    said = [f"{NAMES[name]}: {'; '.join(one.notes)}" for name, one in monitors.items() if one.notes]
    return [Text("\n".join(said) + "\n", style="dim")] if said else []


def as_json(found: Findings, updates: Mapping[str, Sequence[int]], rate: float, confidence: float) -> dict[str, Any]:
    """The record monitor.json."""
    return jsonable(
        {
            "version": VERSION,
            "false_alarms": rate,
            "confidence": confidence,
            "updates": {arm: list(one) for arm, one in updates.items()},
            "monitors": {arm: {name: _plain(one) for name, one in by.items()} for arm, by in found.items()},
        }
    )


def _plain(one: MonitorFinding) -> dict[str, Any]:
    return {**asdict(one), "leads": [_lead(lead) for lead in one.leads]}


def _lead(lead: Lead | None) -> dict[str, Any] | None:
    if lead is None:
        return None
    return {**asdict(lead), "steps": lead.steps, "sentence": lead.sentence}


def flat(found: Findings) -> dict[str, float]:
    """Finite numbers for the manifest, under monitor/<arm>/<monitor>/<name>."""
    metrics: dict[str, float] = {}
    for arm, monitors in found.items():
        for name, one in monitors.items():
            place = f"monitor/{arm}/{name}"
            for key, interval in (("auroc", one.auroc), ("over_length", one.over_length)):
                if interval is not None:
                    metrics[f"{place}/{key}"] = interval.estimate
            if one.flagged:
                metrics[f"{place}/{'slope' if name == SLOPE else 'flagged'}"] = one.flagged[-1].estimate
            leads = [lead.steps for lead in one.leads if lead is not None and lead.steps is not None]
            if leads:
                metrics[f"{place}/lead"] = sum(leads) / len(leads)
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
