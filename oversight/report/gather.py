"""What a report is made of, read from the artifacts of a finished check and of what it was made from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandwiching.oversight.declaration import CONDITIONS_FILE
from sandwiching.oversight.expert_store import STANDING_FILE, STORE_FILE, Standing, open_store, read_standing
from sandwiching.oversight.gate_reports import gates
from sandwiching.oversight.ledger import cut_short
from sandwiching.oversight.samples import FILE as SAMPLES
from sandwiching.oversight.shown import FILE as TABLES
from sandwiching.training.artifacts import MANIFEST, Manifest, read_manifest
from sandwiching.training.lineage import lineage

FIGURES = {
    "agreement": ("check.svg", "Agreement on held-out pairs"),
    "curves": ("curves.svg", "Proxy, KL and gold along training"),
    "optimisation": ("over_optimisation.svg", "Gain against the square root of KL"),
}
"""By topic: the check's file, and what it shows. Of policies the sandwich is drawn anew (panels.py)."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where one run's report comes from. monitor: None where the run has none; store: the project's expert store;
    caveat: check.caveat; config: the text of the run's config.yaml, None where only artifacts are at hand."""

    run: str
    check: Path
    monitor: Path | None
    store: Path
    caveat: str | None = None
    config: str | None = None


@dataclass(frozen=True, slots=True)
class Gathered:
    """One run; None, or empty, what it does not have.

    ledger: as it is now; samples: as in samples.py; tables: as in shown.py, of check and monitors; figures: (SVG, what
    it shows) by topic; made: every artifact that went into it, by folder.
    """

    run: str
    check: dict[str, Any]
    conditions: dict[str, Any] | None
    standing: dict[str, Any] | None
    ledger: dict[str, Any] | None
    caveat: str | None
    config: str | None
    samples: list[dict[str, Any]]
    curves: list[dict[str, Any]]
    monitors: dict[str, Any] | None
    tables: list[dict[str, Any]]
    figures: dict[str, tuple[str, str]]
    gates: list[dict[str, Any]]
    made: Mapping[Path, Manifest]
    manifest: Manifest


def gather(found: Sources) -> Gathered:
    """Read everything. Raises ValueError for a check that says nothing of its look and conditions, that is of another
    expert store than the project's, or that lacks an arm; BrokenLedger for a ledger that is not whole."""
    check, monitor = found.check, found.monitor
    read_manifest(check)
    made = lineage([path for path in (check, monitor) if path is not None])
    record = json.loads((check / "check.json").read_text())
    conditions, standing = _json(check / CONDITIONS_FILE), _json(check / STANDING_FILE)
    _refuse_bare(check, record, conditions, standing)
    refuse_missing_arms(check, record)
    figures = {topic: (check / name, label) for topic, (name, label) in FIGURES.items()}
    if "findings" in record:
        del figures["agreement"]
    if monitor is not None:
        figures["monitors"] = (monitor / "monitor.svg", "What each monitor tells apart, and what it flags")
    look = read_standing(check)
    return Gathered(
        run=found.run,
        check=record,
        conditions=conditions,
        standing=standing,
        ledger=None if look is None else ledger_now(look, check, found.store),
        caveat=found.caveat,
        config=found.config,
        samples=_json(check / SAMPLES) or [],
        curves=_json(check / "curves.json") or [],
        monitors=_json(monitor / "monitor.json") if monitor is not None else None,
        tables=[one for place in (check, monitor) if place is not None for one in _json(place / TABLES) or []],
        figures={topic: (file.read_text(), label) for topic, (file, label) in figures.items() if file.exists()},
        gates=gates(made, check.parent),
        made=made,
        manifest=made[check],
    )


def _refuse_bare(
    check: Path, record: Mapping[str, Any], conditions: Mapping[str, Any] | None, standing: Mapping[str, Any] | None
) -> None:
    """No finding without its look and its conditions; and both of this check."""
    if (conditions is None or standing is None) and (conditions is not standing or "summary" in record):
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


def refuse_missing_arms(check: Path, record: Mapping[str, Any]) -> None:
    """Raise ValueError where an arm that was checked has no row."""
    summary = record.get("summary", {})
    rows = [row["name"] for row in summary["rows"]] if "rows" in summary else list(summary.get("accuracy", {}))
    missing = [arm for arm in record.get("arms", []) if summary and arm not in rows]
    if missing:
        raise ValueError(
            f"report: {check / 'check.json'} checked arms {', '.join(record['arms'])}, and says nothing of "
            f"{', '.join(missing)}; delete the folder and run the check again"
        )


def ledger_now(look: Standing, check: Path, place: Path) -> dict[str, Any] | None:
    """The project's ledger, which must hold the look: length, and looks left of the budget; None where it is not here.

    Raises ValueError for another project's store, BrokenLedger (one too) for a chain that does not hold.
    """
    if not (place / STORE_FILE).exists():
        return None
    store = open_store(place)
    if store.id != look.store:
        raise ValueError(
            f"report: {check.name} took its look in the expert store {look.store}, and {place} is store {store.id}: a "
            "ledger of another project; give check.store the folder that the check was made with"
        )
    entries = store.ledger.entries()
    for problem in cut_short(entries, store.ledger.first, [(check.name, look.head)]):
        raise ValueError(f"report: {store.ledger.file} is not the ledger that the check wrote into: {problem}")
    return {"store": str(place), "length": len(entries), "left": max(0, look.budget - len(entries))}


def monitors_of(monitor: Path, check: Path) -> Path | None:
    """The folder of finished monitors that looked at this check; None for others: a run's folder keeps the link to
    those of its check before."""
    if not finished(monitor) or read_manifest(monitor).parents.get("check") != read_manifest(check).key:
        return None
    return monitor.resolve()


def finished(artifact: Path) -> bool:
    """Whether there is such an artifact, whole."""
    return (artifact / MANIFEST).exists()


def _json(file: Path) -> Any:
    """None where there is no such file."""
    return json.loads(file.read_text()) if file.exists() else None
