"""Before a check: nothing that is held out was trained on, and the look is paid for. After it: what it may claim.

overlap? -> expert store -> ledger -> the check -> conditions.json, ledger.json -> headline
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sandwiching.configs.schema import CheckConfig, ConditionsConfig, DataConfig, TaskConfig
from sandwiching.oversight.conditions import Condition, Run, conditions_sentence, evaluate
from sandwiching.oversight.conditions_measure import held_out_loss, kl_by_arm, policy_parameters
from sandwiching.oversight.declaration import CONDITIONS_FILE, Declaration, declare
from sandwiching.oversight.expert_pairs import held_out_rows
from sandwiching.oversight.expert_store import (
    Look,
    Standing,
    held_out_ids,
    make_or_open,
    place_of,
    refuse_cut,
    write_standing,
)
from sandwiching.oversight.gate_reports import gates, halves_of
from sandwiching.oversight.item_records import CHECK_FILE, ItemRecords
from sandwiching.oversight.overlap import refuse_overlap
from sandwiching.oversight.shift import prompt_shift
from sandwiching.oversight.summary import jsonable
from sandwiching.oversight.traces import CheckSide, TrainingSide, refuse_expert_rows, traces, training_side
from sandwiching.tasks.judgements import JudgementsFile
from sandwiching.tasks.records import Task
from sandwiching.tasks.registry import make_task
from sandwiching.training.artifacts import StageFolder, write_atomic
from sandwiching.training.lineage import lineage


@dataclass(frozen=True, slots=True)
class Opened:
    """A look that is paid for, where its items go, and what training and check know of each other."""

    standing: Standing
    items: ItemRecords
    declared: Declaration
    source: Task
    side: CheckSide
    trained: TrainingSide


def held_out_prompts(source: Task, check: CheckConfig) -> CheckSide | None:
    """What only the check may know; None where no expert judged anything, so that there is nothing to look at."""
    prompts = [*source.prompts("dev"), *source.prompts("final")]
    if not isinstance(source, JudgementsFile):
        return CheckSide(prompts, frozenset(rater.id for rater in source.weak_raters("check")))
    experts = {row.judgement.rater for row in held_out_rows(source, check) if row.judgement.tier == "expert"}
    return CheckSide(prompts, frozenset(experts)) if experts else None


def open_experts(
    task: TaskConfig,
    data: DataConfig,
    check: CheckConfig,
    conditions: ConditionsConfig,
    arms: Collection[str],
    seeds: Sequence[int],
    parents: Mapping[str, Path],
    folder: StageFolder,
) -> Opened | None:
    """Pay for the check's one look, or find that it is paid; None where no expert judged anything.

    Raises ValueError when held-out prompts or experts' verdicts were trained on, when the store is another project's,
    and when its ledger is not whole.
    """
    source, artifacts = make_task(task, data, seeds[0]), folder.path.parent
    side = held_out_prompts(source, check)
    if side is None:
        return None
    refuse_overlap(source.prompts("train"), side.prompts, check.overlap)
    trained = training_side(lineage(parents.values()), source.demonstrations())
    refuse_expert_rows(trained)
    declared = declare(folder.path, folder.path.name, conditions, [True] * len(parents))
    store = make_or_open(place_of(check.store, artifacts), check.looks, data.splits.salt)
    refuse_cut(store, artifacts)
    look = Look(
        name=folder.path.name,
        run=declared.run,
        split=check.split,
        purpose="check, with curves on dev" if any(name.startswith("ppo/") for name in parents) else "check",
        artifacts={name: path.name for name, path in parents.items()},
        candidates=len(arms),
        held_out=store.remember(held_out_ids(source)),
    )
    standing = store.look(look, store.budget if check.looks is None else check.looks)
    folder.check_attempt()
    write_standing(folder.path, standing)
    items = ItemRecords(store.items(folder.path.name), folder.path)
    return Opened(standing, items, declared, source, side, trained)


def judge_conditions(
    opened: Opened, check: CheckConfig, conditions: ConditionsConfig, parents: Mapping[str, Path], folder: StageFolder
) -> list[Condition]:
    """The conditions of a check whose check.json is written."""
    record = opened.items.record()
    reports = gates(lineage(parents.values()), folder.path.parent)
    run = Run(
        kl_by_arm=kl_by_arm(record, parents, check.confidence, check.ceiling),
        shift=prompt_shift(opened.source.prompts("train"), opened.side.prompts),
        parameters=policy_parameters(parents),
        held_out_loss=held_out_loss(record, check.confidence),
        standing=opened.standing,
        traces=traces(opened.side, opened.trained, check.overlap),
        halves=halves_of(reports),
        permutation_p=[one["permutation_p"] for one in reports if one["permutation_p"] is not None],
    )
    return evaluate(conditions, run)


def write_claim(
    opened: Opened, check: CheckConfig, conditions: ConditionsConfig, parents: Mapping[str, Path], folder: StageFolder
) -> dict[str, float]:
    """Write conditions.json, and put look and conditions into the headline of check.json and check.txt.

    Returns flat metrics.
    """
    rows = judge_conditions(opened, check, conditions, parents, folder)
    said = f"{conditions_sentence(rows)} {opened.declared.sentence(conditions)}"
    changed = opened.declared.changed(conditions)
    whole = {
        "sentence": said,
        "declared": asdict(opened.declared),
        "changed_after": {name: list(pair) for name, pair in changed.items()},
        "conditions": [asdict(row) for row in rows],
    }
    folder.check_attempt()
    write_atomic(folder.path / CONDITIONS_FILE, json.dumps(jsonable(whole), indent=1))
    record = opened.items.aggregates()
    text = (folder.path / "check.txt").read_text()
    look = opened.standing.sentence
    headline = "\n".join(part for part in (look, record.get("headline"), check.caveat, said) if part)
    ledger = {**asdict(opened.standing), "valid": opened.standing.valid, "sentence": look}
    write_atomic(folder.path / CHECK_FILE, json.dumps({**record, "headline": headline, "ledger": ledger}))
    write_atomic(folder.path / "check.txt", "\n".join(part for part in (look, check.caveat, said, f"\n{text}") if part))
    return {"check/look": float(opened.standing.number), "check/valid": float(opened.standing.valid)}
