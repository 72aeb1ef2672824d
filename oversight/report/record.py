"""report.json: what a page says, as numbers. Aggregates of the checked split, and samples of dev prompts alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sandwiching.oversight.intervals import Interval, RatioSet
from sandwiching.oversight.recovery import POLICY
from sandwiching.oversight.report.gather import Gathered
from sandwiching.oversight.summary import ratio

VERSION = 1
UNCHECKED = "Nothing was checked by experts, so no look was taken."


@dataclass(frozen=True, slots=True)
class PGR:
    """(arm - rater line) / (ceiling - rater line) of labels, reward models or a policy's `measure`; said: in words."""

    of: str
    measure: str
    arm: str
    said: str
    numerator: Mapping[str, Any]
    denominator: Mapping[str, Any]
    ratio: Mapping[str, Any]


def report_record(found: Gathered) -> dict[str, Any]:
    """The record of one run (docs/report.md)."""
    check, standing = found.check, found.standing
    findings = check.get("findings", {})
    valid = standing is None or standing["valid"]
    return {
        "version": VERSION,
        "run": found.run,
        "invalid": not valid,
        "headline": check.get("headline", ""),
        "conditions": found.conditions,
        "looks": standing,
        "split": check["split"],
        "confidence": check.get("confidence"),
        "arms": check.get("arms", []),
        "seeds": check.get("seeds", []),
        "ceiling": check.get("ceiling"),
        "null_arm": check.get("null_arm"),
        "no_fooling": check.get("no_fooling"),
        "rows": [{key: row[key] for key in ("name", "role", "levels")} for row in _rows(check)],
        "gain": {row["name"]: row["gains"] for row in _rows(check) if row["gains"]},
        "above_raters": {row["name"]: row["above"] for row in _rows(check) if row["above"]},
        "pgr": [asdict(one) for one in pgrs(check)],
        "fooling": findings.get("fooling", {}),
        "best_of_n": findings.get("best_of_n", {}),
        "fits": findings.get("fits", {}),
        "missing": findings.get("missing", {}),
        "agreement": check["summary"] if "accuracy" in check.get("summary", {}) else None,
        "curves": found.curves,
        "samples": found.samples,
        "gates": found.gates,
        "monitors": found.monitors,
        "lineage": lineage_rows(found),
    }


def _rows(check: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return check.get("summary", {}).get("rows", [])


def pgrs(check: Mapping[str, Any]) -> Iterator[PGR]:
    """Of labels and reward models, then of the policies."""
    for of, stage in check.get("findings", {}).get("recovered", {}).items():
        for arm, one in stage["recovered"].items():
            yield _pgr(of, "pairs", arm, one)
    for row in _rows(check):
        for measure, one in row["recovered"].items():
            yield _pgr(POLICY, measure, row["name"], one)


def _pgr(of: str, measure: str, arm: str, one: Mapping[str, Any]) -> PGR:
    return PGR(of, measure, arm, ratio(ratio_set(one["ratio"])), one["numerator"], one["denominator"], one["ratio"])


def interval(record: Mapping[str, Any]) -> Interval:
    """As it was before JSON, which has no infinite limits."""
    low = -math.inf if record["low"] is None else record["low"]
    high = math.inf if record["high"] is None else record["high"]
    return Interval(**{**record, "low": low, "high": high})


def ratio_set(record: Mapping[str, Any]) -> RatioSet:
    """As it was before JSON."""
    numbers = {key: math.nan if record[key] is None else record[key] for key in ("estimate", "low", "high")}
    return RatioSet(kind=record["kind"], **numbers)


def lineage_rows(found: Gathered) -> list[dict[str, Any]]:
    """Every artifact, the oldest first: stage, key, parents, SHA-256 of its weights or result, seconds, commit."""
    ages: dict[str, int] = {}
    by_key = {manifest.key: manifest for manifest in found.made.values()}

    def age(key: str) -> int:
        if key not in ages:
            parents = by_key[key].parents.values() if key in by_key else ()
            ages[key] = 1 + max((age(parent) for parent in parents), default=0)
        return ages[key]

    ordered = sorted(found.made.items(), key=lambda item: (age(item[1].key), item[0].name))
    return [
        {
            "artifact": path.name,
            "stage": manifest.stage,
            "version": manifest.version,
            "key": manifest.key,
            "parents": manifest.parents,
            "sha256": {name: file[1] for name, file in manifest.files.items() if name.endswith(WEIGHED)},
            "seconds": manifest.seconds,
            "commit": manifest.environment.get("git_commit"),
            "ledger": manifest.environment.get("ledger"),
        }
        for path, manifest in ordered
    ]


WEIGHED = (".safetensors", "check.json", ".jsonl.gz", "monitor.json")
"""Files of an artifact whose hashes stand in the report."""
