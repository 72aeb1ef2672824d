"""A finished run on disk, of made-up answers but with the real code's findings, for tests of its report.

<root>/store, <root>/experts, <root>/<name>
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from sandwiching.configs.load import load, to_yaml
from sandwiching.oversight.distance_plot import distance_figure
from sandwiching.oversight.expert_store import Look, Standing, make_or_open, write_standing
from sandwiching.oversight.findings import Findings, find
from sandwiching.oversight.findings_table import render_findings
from sandwiching.oversight.outcomes import outcomes
from sandwiching.oversight.samples import samples
from sandwiching.oversight.shown import shown
from sandwiching.oversight.summary import Summary, jsonable, summarise
from sandwiching.oversight.table import render
from sandwiching.oversight.trails import trail
from sandwiching.training.artifacts import StageFolder, write_manifest

SECRET = "FINAL-ITEM-SECRET"
"""In every prompt and answer of the final split."""
CANDIDATES, SAMPLES, RATERS, DEV = 4, 2, 6, 15
SENTENCE = "Conditions: held: looks; not tested: capability. Declared before training."


@dataclass
class Planted:
    """What is planted. right: of a free answer, by policy; wrong_ok: P(approved | wrong); text: of dev answers and
    prompts."""

    right: Mapping[str, float] = field(
        default_factory=lambda: {"floor": 0.5, "biased": 0.55, "unbiased": 0.55, "ceiling": 0.75}
    )
    wrong_ok: Mapping[str, float] = field(default_factory=lambda: {"biased": 0.65})
    raters: float = 0.45
    groups: int = 20
    items: int = 60
    seeds: tuple[int, ...] = (0, 1)
    text: str = "an answer"
    looks: int = 1
    budget: int = 20
    caveat: str | None = None


def _approvals(rng: np.random.Generator, right: np.ndarray, wrong_ok: float) -> list:
    share = np.where(right, 0.55, wrong_ok)[..., None]
    return (rng.random((*right.shape, RATERS)) < share).astype(float).tolist()


def check_record(planted: Planted) -> tuple[dict[str, Any], dict[str, Any]]:
    """The record of a check with its items, and its trails."""
    rng, seeds, count = np.random.default_rng(3), list(planted.seeds), planted.items
    groups = [f"g{place % planted.groups}" for place in range(count)]
    policies, rewards = {}, {}
    for name, chance in planted.right.items():
        for seed in seeds:
            right = rng.random((count, SAMPLES)) < chance
            forced = rng.random(count) < chance + 0.1
            policies[f"{name}/seed{seed}"] = {
                "responses": [[f"{SECRET} answer"] * SAMPLES for _ in range(count)],
                "correct": right.tolist(),
                "logprobs": [[-1.0 if one else -5.0, *[-2.0] * (CANDIDATES - 1)] for one in forced],
                "approvals": _approvals(rng, right, planted.wrong_ok.get(name, 0.45)),
                "kl": [[0.0 if name == "floor" else 1.0] * SAMPLES for _ in range(count)],
            }
            if name != "floor":
                rewards[f"{name}/seed{seed}"] = {
                    "pairs": (rng.random(count) < chance + 0.05).astype(float).tolist(),
                    "pool": rng.normal(size=(count, SAMPLES)).tolist(),
                    "samples": rng.normal(size=(count, SAMPLES)).tolist(),
                }
    arms = [name for name in planted.right if name != "floor"]
    labels = {arm: (rng.random(count) < 0.9 * planted.right[arm]).astype(float).tolist() for arm in arms}
    record = {
        **{"version": 1, "split": "final", "confidence": 0.95, "arms": arms, "seeds": seeds, "no_fooling": None},
        "ceiling": "ceiling" if "ceiling" in arms else None,
        "null_arm": "unbiased" if "unbiased" in arms else None,
        "items": [
            {
                **{"id": f"{SECRET}/{place}", "text": f"{SECRET} {place}?", "group": group, "kind": "capital"},
                **{"cell": "model knows, raters do not", "candidates": [f"{SECRET} {n}" for n in range(CANDIDATES)]},
            }
            for place, group in enumerate(groups)
        ],
        "raters": [
            {
                "raters": [f"r{(place + rater) % 12}" for rater in range(RATERS)],
                "forced": (rng.random(RATERS) < planted.raters).astype(float).tolist(),
                "pairs": (rng.random(RATERS) < 0.6).astype(float).tolist(),
            }
            for place in range(count)
        ],
        "policies": policies,
        "labels": {
            **{"groups": groups, "line": (rng.random(count) < planted.raters).astype(float).tolist()},
            **{"arms": labels, "missing": {}},
        },
        "rewards": rewards,
    }
    return record, _trails(rng, planted, arms)


def _trails(rng: np.random.Generator, planted: Planted, arms: list[str]) -> dict[str, Any]:
    points, rewards = {}, {}
    for arm in arms:
        for seed in planted.seeds:
            along = []
            for updates, kl in ((0, 0.0), (10, 1.2), (20, 2.5), (30, 4.0)):
                right = rng.random((DEV, SAMPLES)) < planted.right[arm]
                approvals = np.array(_approvals(rng, right, planted.wrong_ok.get(arm, 0.45))).mean(2)
                along.append(
                    {
                        **{"updates": updates, "responses": [[planted.text] * SAMPLES for _ in range(DEV)]},
                        **{"correct": right.tolist(), "approved": approvals.tolist()},
                        **{"forced": right[:, 0].astype(float).tolist(), "kl": [[kl] * SAMPLES for _ in range(DEV)]},
                    }
                )
            points[f"{arm}/seed{seed}"] = along
            rewards[f"{arm}/seed{seed}"] = rng.normal(size=(4, DEV, SAMPLES)).tolist()
    groups = [f"d{place % 12}" for place in range(DEV)]
    return {"seeds": list(planted.seeds), "groups": groups, "points": points, "rewards": rewards}


CONDITION = {
    **{"name": "looks", "quantity": "looks of the project, with this one", "value": 1.0, "low": None, "high": None},
    **{"side": "most", "bound": 20.0, "state": "held", "held": True, "note": ""},
}
UNTESTED = {**CONDITION, "name": "capability", "value": None, "bound": None, "state": "not tested", "held": None}


def artifact(folder: Path, stage: str, files: Mapping[str, Any], **manifest: Any) -> Path:
    """A finished one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "attempt").write_text("1")
    for name, value in files.items():
        (folder / name).write_text(value if isinstance(value, str) else json.dumps(jsonable(value)))
    fields = {"inputs": {}, "parents": {}, "metrics": {}, "environment": {"arms": [], "git_commit": "c" * 40}}
    head = {"stage": stage, "version": 1, "key": folder.name.rpartition("-")[2], "seconds": 1.0}
    write_manifest(StageFolder(folder, 1), {**head, **fields, **manifest})
    return folder


def standing_of(root: Path, name: str, planted: Planted) -> Standing:
    """The check's look in the project's ledger; the looks before it are other checks'."""
    store = make_or_open(root / "experts", planted.budget, "salt")
    for one in range(planted.looks - 1):
        store.look(Look(f"check-before{one}", "demo", "final", "check", {}, 2), planted.budget)
    return store.look(Look(name, "demo", "final", "check", {}, 2), planted.budget)


def run_folder(root: Path, name: str, check: Path, overrides: tuple[str, ...] = ()) -> Path:
    """runs/<name> with its config and the link to its check."""
    run = root / name
    (run / "artifacts").mkdir(parents=True)
    (run / "config.yaml").write_text(to_yaml(load("tiny", [f"name={name}", *overrides])))
    (run / "artifacts" / "check").symlink_to(check)
    return run


Found = tuple[dict[str, Any], dict[str, Any], Summary, Findings, str]
FOUND: dict[str, Found] = {}


def _found(planted: Planted) -> Found:
    """Record, trails, what the real code finds in them, and the figure of it; once for the same answers."""
    key = repr([planted.right, planted.wrong_ok, planted.raters, planted.groups, planted.items, planted.seeds])
    key += planted.text
    if key not in FOUND:
        record, trails = check_record(planted)
        summary, findings = summarise(outcomes(record), record["ceiling"], 0.95), find(record, trails)
        along = {arm: trail(trails, arm) for arm in record["arms"]}
        stream = StringIO()
        distance_figure(along, findings.best_of_n, findings.fits).savefig(stream, format="svg", metadata={"Date": None})
        FOUND[key] = record, trails, summary, findings, stream.getvalue()
    return FOUND[key]


def finished_run(root: Path, name: str = "demo", planted: Planted | None = None, **changed: Any) -> Path:
    """The run's folder. changed: keys of check.json."""
    planted = planted or Planted()
    record, trails, summary, findings, svg = _found(planted)
    store, key = root / "store", f"{name}0123456789abcdef"[:16]
    check = store / f"check-{key}"
    standing = standing_of(root, check.name, planted)
    parents = _parents(store, name)
    topics = {"sandwich": render(summary, summary.headline), **render_findings(findings)}
    prompts = [f"Dev prompt {place}? {planted.text}" for place in range(DEV)]
    files = {
        "check.json": {**_aggregates(record, summary, findings, standing), **changed},
        "conditions.json": {"sentence": SENTENCE, "conditions": [CONDITION, UNTESTED]},
        "tables.json": shown(topics),
        "samples.json": [asdict(one) for one in samples(trails, prompts)],
        "curves.json": [],
        "over_optimisation.svg": svg,
    }
    check.mkdir(parents=True)
    write_standing(check, standing)
    artifact(check, "check", files, parents=parents)
    caveat = () if planted.caveat is None else (f"check.caveat={json.dumps(planted.caveat)}",)
    return run_folder(root, name, check, caveat)


def _aggregates(record: Mapping[str, Any], summary: Summary, findings: Findings, standing: Standing) -> dict[str, Any]:
    head = {name: record[name] for name in ("version", "split", "confidence", "arms", "seeds", "ceiling", "null_arm")}
    return {
        "headline": f"{standing.sentence}\n{summary.headline}\n{SENTENCE}",
        **head,
        **{"no_fooling": None, "chance": 0.25, "summary": asdict(summary), "findings": asdict(findings)},
        "ledger": {**asdict(standing), "valid": standing.valid, "sentence": standing.sentence},
    }


def _parents(store: Path, name: str) -> dict[str, str]:
    """Judgements, their gate, and a reward model on them; the keys of what the check has for parents."""
    keys = {stage: f"{stage[:2]}{name}0123456789abcdef"[:16] for stage in ("judgements", "gate", "reward_model")}
    places = {stage: store / f"{stage}-{key}" for stage, key in keys.items()}
    environment = {"arms": ["biased"], "git_commit": "c" * 40}
    artifact(
        places["judgements"],
        "judgements",
        {},
        inputs={"tier": "weak", "seed": 0, "judgements": {}},
        metrics={"judgements/judgements": 1234.0, "judgements/raters": 40.0, "judgements/ties": 0.3},
        environment=environment,
    )
    said = {"verdict": "YES", "sentence": "The raters agree.", "permutation_p": 0.005}
    half = {"split_half": {"agreement": 0.62, "low": 0.58, "high": 0.66}}
    parents = {"judgements": keys["judgements"]}
    artifact(places["gate"], "gate", {"gate.json": {**said, **half}}, parents=parents, environment=environment)
    artifact(places["reward_model"], "reward_model", {}, parents=parents, environment=environment)
    return {"reward_model/0/biased/seed0": keys["reward_model"]}
