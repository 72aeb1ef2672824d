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
from sandwiching.training.lineage import of_stage

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
    return {
        "version": VERSION,
        "run": found.run,
        "invalid": standing is not None and not standing["valid"],
        "headline": headline(found),
        "not_tested": not_tested(found),
        "caveat": found.caveat,
        "conditions": found.conditions,
        "looks": None if standing is None else {**standing, "now": found.ledger},
        "split": check["split"],
        "confidence": check.get("confidence"),
        "arms": check.get("arms", []),
        "seeds": check.get("seeds", []),
        "ceiling": check.get("ceiling"),
        "null_arm": check.get("null_arm"),
        "chance": check.get("chance"),
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
        "weak_gap": check.get("weak_gap"),
        "curves": found.curves,
        "samples": found.samples,
        "judgements": made_of(found, "judgements"),
        "gates": found.gates,
        "reward_models": made_of(found, "reward_model"),
        "monitors": found.monitors,
        "lineage": lineage_rows(found),
        "commit": found.manifest.environment.get("git_commit"),
        "config": found.config,
    }


def headline(found: Gathered) -> str:
    """The check's, with its look and its conditions; and with what is said against the experts, whenever that was."""
    lines = found.check.get("headline", UNCHECKED).split("\n")
    if found.caveat is not None and found.caveat not in lines:
        lines.insert(len(lines) - (found.conditions is not None), found.caveat)
    return "\n".join(lines)


def not_tested(found: Gathered) -> str:
    """What nothing is known of, in a sentence."""
    rows = found.conditions["conditions"] if found.conditions is not None else []
    named = {row["name"]: [] for row in rows}
    for row in rows:
        named[row["name"]].append(row["state"] == "not tested")
    untested = [name for name, states in named.items() if all(states)]
    said = f"Not tested here: {', '.join(untested)}. " if untested else ""
    power = next((row for row in rows if row["name"] == "optimisation power" and row["value"] is not None), None)
    reached = "" if power is None else f"more optimisation than the {power['value']:.2g} nats that were applied, "
    few = f"Training ran with {_seeds(len(found.check.get('seeds', [])))}. "
    return f"{said}{few}Nothing is known of {reached}other raters or prompts, or a more capable model."


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"


def made_of(found: Gathered, stage: str) -> list[dict[str, Any]]:
    """Artifacts of a stage by arms and seed: arms that they served, labels (seed, tier, member) and metrics."""
    places = [(path, found.made[path]) for path in of_stage(dict(found.made), stage)]
    rows = [
        {
            "artifact": path.name,
            "arms": one.environment.get("arms", []),
            **{name: one.inputs[name] for name in ("tier", "seed", "member") if name in one.inputs},
            "raters": one.inputs.get("judgements", {}).get("raters", "task"),
            "kind": one.inputs.get("reward_model", {}).get("kind"),
            "metrics": one.metrics,
        }
        for path, one in places
    ]
    return sorted(rows, key=lambda row: (row["arms"], row.get("seed", 0), row.get("member", 0)))


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
    without = {"estimate": math.nan, "low": -math.inf, "high": math.inf}
    numbers = {key: value if record[key] is None else record[key] for key, value in without.items()}
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
            "inputs": manifest.inputs,
            "seconds": manifest.seconds,
            "commit": manifest.environment.get("git_commit"),
            "ledger": manifest.environment.get("ledger"),
        }
        for path, manifest in ordered
    ]


WEIGHED = (".safetensors", "check.json", ".jsonl.gz", "monitor.json")
"""Files of an artifact whose hashes stand in the report."""
