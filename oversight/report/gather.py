"""What a report is made of, read from the artifacts of a finished check and of what it was made from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandwiching.oversight.declaration import CONDITIONS_FILE
from sandwiching.oversight.expert_store import STANDING_FILE
from sandwiching.oversight.gate_reports import gates
from sandwiching.oversight.samples import FILE as SAMPLES
from sandwiching.oversight.shown import FILE as TABLES
from sandwiching.training.artifacts import Manifest
from sandwiching.training.lineage import lineage

FIGURES = {
    "sandwich": ("check.svg", "Rater line, floor, arms and ceiling"),
    "curves": ("curves.svg", "Proxy, KL and gold along training"),
    "optimisation": ("over_optimisation.svg", "Gain against the square root of KL"),
}
"""By topic: the check's file, and what it shows."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """One run; None, or empty, what it does not have.

    samples: as in samples.py; tables: as in shown.py, of check and monitors; figures: (SVG, what it shows) by topic;
    made: every artifact that went into it, by folder.
    """

    run: str
    check: dict[str, Any]
    conditions: dict[str, Any] | None
    standing: dict[str, Any] | None
    samples: list[dict[str, Any]]
    curves: list[dict[str, Any]]
    monitors: dict[str, Any] | None
    tables: list[dict[str, Any]]
    figures: dict[str, tuple[str, str]]
    gates: list[dict[str, Any]]
    made: Mapping[Path, Manifest]
    manifest: Manifest


def gather(run: str, check: Path, monitor: Path | None) -> Gathered:
    """Read everything. Raises ValueError for a check that says nothing of its look and conditions, or of another store
    than the one its ledger is of."""
    made = lineage([path for path in (check, monitor) if path is not None])
    record = json.loads((check / "check.json").read_text())
    conditions, standing = _json(check / CONDITIONS_FILE), _json(check / STANDING_FILE)
    if (conditions is None) != (standing is None):
        raise ValueError(
            f"report: {check} has no {CONDITIONS_FILE if conditions is None else STANDING_FILE}, and a finding is not "
            "shown without; delete the folder and run the check again"
        )
    noted = record.get("ledger", standing)
    if standing is not None and (noted["store"], noted["hash"]) != (standing["store"], standing["hash"]):
        raise ValueError(
            f"report: {check / STANDING_FILE} is of look {standing['number']} in store {standing['store']}, and "
            f"check.json of look {noted['number']} in store {noted['store']}: a ledger of another project"
        )
    figures = {topic: (check / name, label) for topic, (name, label) in FIGURES.items()}
    if monitor is not None:
        figures["monitors"] = (monitor / "monitor.svg", "What each monitor tells apart, and what it flags")
    return Gathered(
        run=run,
        check=record,
        conditions=conditions,
        standing=standing,
        samples=_json(check / SAMPLES) or [],
        curves=_json(check / "curves.json") or [],
        monitors=_json(monitor / "monitor.json") if monitor is not None else None,
        tables=[one for place in (check, monitor) if place is not None for one in _json(place / TABLES) or []],
        figures={topic: (file.read_text(), label) for topic, (file, label) in figures.items() if file.exists()},
        gates=gates(made, check.parent),
        made=made,
        manifest=made[check],
    )


def _json(file: Path) -> Any:
    """None where there is no such file."""
    return json.loads(file.read_text()) if file.exists() else None
