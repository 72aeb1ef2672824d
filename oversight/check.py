"""The check: on held-out prompts, did training on weak judgements make the policy right, or only approved?

    floor and each arm, a policy a seed -> free samples graded by gold, forced choice \\
    raters who labelled nothing         -> their own choices, approval of the samples  > check.json, .txt, .svg
    each arm's reward models            -> scores of samples and of gold pairs        /
    PPO's metrics and snapshots         -> reward, KL, gold, approval on dev prompts  -> curves.json

What is known of single items stays in the expert store (item_records.py).

    sandwich run configs/capitals.yaml --only check
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Group

from sandwiching.configs.schema import (
    ArmLabels,
    CheckConfig,
    ConditionsConfig,
    DataConfig,
    JudgementsTask,
    ModelConfig,
    ResourcesConfig,
    TaskConfig,
)
from sandwiching.oversight.answers import Examiner
from sandwiching.oversight.curves import Curve
from sandwiching.oversight.distance_plot import distance_figure
from sandwiching.oversight.exam import Exam, Work
from sandwiching.oversight.findings import find
from sandwiching.oversight.findings_table import flat_findings, fooling_sentences, render_findings
from sandwiching.oversight.item_records import CHECK_FILE, RECORD, SEALED, TRAILS, ItemRecords
from sandwiching.oversight.items import checked_prompts, items_of
from sandwiching.oversight.opening import open_experts, write_claim
from sandwiching.oversight.outcomes import FLOOR, outcomes
from sandwiching.oversight.plots import mean_chance, sandwich, save, save_curves
from sandwiching.oversight.policies import find_policies
from sandwiching.oversight.reward_check import Ensemble, check_rewards
from sandwiching.oversight.rewards import Rewards, label_record
from sandwiching.oversight.samples import FILE as SAMPLES
from sandwiching.oversight.samples import samples
from sandwiching.oversight.shown import FILE as TABLES
from sandwiching.oversight.shown import shown
from sandwiching.oversight.summary import flat_metrics, jsonable, summarise
from sandwiching.oversight.table import plain_text, render
from sandwiching.oversight.trails import trail
from sandwiching.policy.base_models import identity
from sandwiching.policy.tokenization import load_tokenizer
from sandwiching.tasks.capitals_gold import make_gold
from sandwiching.tasks.knowledge import cells, require_filling
from sandwiching.tasks.records import Prompt
from sandwiching.tasks.registry import make_task
from sandwiching.training.artifacts import StageFolder, write_atomic
from sandwiching.training.roles import EngineSpec, Roles

VERSION = 1


def check(
    *,
    model: ModelConfig,
    task: TaskConfig,
    data: DataConfig,
    check: CheckConfig,
    arms: Collection[str],
    seeds: Sequence[int],
    resources: ResourcesConfig,
    parents: Mapping[str, Path],
    folder: StageFolder,
    roles: Roles,
    ensembles: Mapping[str, Ensemble],
    labels: Mapping[str, ArmLabels] | None = None,
    conditions: ConditionsConfig | None = None,
) -> dict[str, float]:
    """Check all arms and seeds at once: one look in the project's ledger. Parents: sft/seedN, sft/ARM/seedN,
    ppo/ARM/seedN, reward_model/K/ARM/seedN.

    ensembles: of each arm; labels: who labels for it, where the task has gold. Raises ValueError when an arm has no
    policy or no reward models, a prompt no candidates, what is held out was trained on, or the expert store is another
    project's or its ledger not whole.
    """
    bounds = conditions or ConditionsConfig()
    opened = open_experts(task, data, check, bounds, arms, seeds, parents, folder)
    items = None if opened is None else opened.items
    metrics = _results(model, task, data, check, arms, seeds, parents, folder, items, roles, ensembles, labels or {})
    if opened is None:
        return metrics
    metrics |= write_claim(opened, check, bounds, parents, folder)
    opened.items.done()
    return metrics


def _results(
    model: ModelConfig,
    task: TaskConfig,
    data: DataConfig,
    check: CheckConfig,
    arms: Collection[str],
    seeds: Sequence[int],
    parents: Mapping[str, Path],
    folder: StageFolder,
    kept: ItemRecords | None,
    roles: Roles,
    ensembles: Mapping[str, Ensemble],
    labels: Mapping[str, ArmLabels],
) -> dict[str, float]:
    """Examine and write the results; see check. kept: where items go, None where no expert judged any."""
    if isinstance(task, JudgementsTask) or not any(name.startswith("ppo/") for name in parents):
        return check_rewards(model, task, data, check, list(arms), seeds, ensembles, parents, folder, kept, roles)
    assert kept is not None
    policies = find_policies(model, check, arms, seeds, parents)
    start = policies.models[FLOOR, seeds[0]]
    engine = roles.engine(EngineSpec(start, model, adapters=model.lora is not None))
    gold = make_gold(task)
    examiner = Examiner(engine, load_tokenizer(start, model.pad_token), gold, model, check)
    prompts = make_task(task, data, seeds[0])
    held_out, dev_prompts = checked_prompts(prompts, model, data, check, examiner.tokenizer)
    items = items_of(held_out, gold, cells(task, held_out))
    dev = items_of(dev_prompts, gold, cells(task, dev_prompts))
    work = Work(folder, kept.parts, total=len(policies.models) + 3 * len(policies.artifacts))
    exam = Exam(examiner, policies, items, prompts.weak_raters("check"), work)
    record: dict[str, Any] = {
        **compared(check, arms, seeds),
        "no_fooling": why_no_fooling(task, held_out, model),
        "items": [{**asdict(item.prompt), "candidates": item.candidates, "cell": item.cell} for item in items],
        "raters": exam.rater_line(),
        "policies": exam.answers(arms, seeds),
    }
    points = exam.trails(dev)
    pairs, record["labels"] = label_record(task, data, check, labels, seeds[0], model, examiner.tokenizer)
    rewards = Rewards(model, ensembles, parents, roles, work)
    record["rewards"], trails = rewards.of_arms(record, points, items, dev, pairs)
    # Where dev is what is checked, its items stay in the expert store as those of final do.
    shown_items = [] if check.split == "dev" else samples(trails, [item.prompt.text for item in dev])
    answers = [asdict(one) for one in shown_items]
    write_atomic(folder.path / SAMPLES, json.dumps(answers))
    return write_results(folder, kept, record, trails, exam.curves(points))


def compared(check: CheckConfig, arms: Collection[str], seeds: Sequence[int]) -> dict[str, Any]:
    """What stands against what: the head of check.json."""
    return {
        "version": VERSION,
        "split": check.split,
        "confidence": check.confidence,
        "ceiling": check.ceiling if check.ceiling in arms else None,
        "null_arm": check.null_arm,
        "arms": list(arms),
        "seeds": list(seeds),
    }


def why_no_fooling(task: TaskConfig, held_out: Sequence[Prompt], model: ModelConfig) -> str | None:
    """Why nothing here may be called fooling, or None where the knowledge table has filling enough."""
    try:
        require_filling(task, held_out, str(identity(model.path, model.revision)))
    except ValueError as reason:
        return str(reason)
    return None


ITEMS = ("items", "raters", "policies", "labels", "rewards")
"""Parts of a check's record that speak of single items."""


def write_results(
    folder: StageFolder,
    kept: ItemRecords,
    record: Mapping[str, Any],
    trails: Mapping[str, Any],
    curves: Sequence[Curve],
) -> dict[str, float]:
    """Write check.json, check.txt, tables.json and figures, and the items apart.

    Returns flat metrics.
    """
    found = outcomes(record)
    summary, findings = summarise(found, record["ceiling"], record["confidence"]), find(record, trails)
    note = f"{100 * record['confidence']:g} % intervals; {summary.covers}"
    folder.check_attempt()
    sealed = {
        RECORD: kept.write(RECORD, jsonable({name: record[name] for name in ITEMS})),
        TRAILS: kept.write(TRAILS, jsonable(dict(trails))),
    }
    head = {name: value for name, value in record.items() if name not in ITEMS}
    headline = "\n".join([summary.headline, *fooling_sentences(findings, record["ceiling"])])
    found_all = {"chance": mean_chance(found), "summary": asdict(summary), "findings": asdict(findings)}
    whole = {"headline": headline, **head, **found_all}
    write_atomic(folder.path / CHECK_FILE, json.dumps(jsonable({**whole, SEALED: sealed})))
    topics = {"sandwich": render(summary, headline), **render_findings(findings)}
    write_atomic(folder.path / "check.txt", plain_text(Group(*(part for parts in topics.values() for part in parts))))
    write_atomic(folder.path / TABLES, json.dumps(shown(topics)))
    save(sandwich(summary.rows, mean_chance(found), note), folder.path / "check.svg")
    save_curves(curves, folder.path)
    along = {arm: trail(trails, arm) for arm in record["arms"]}
    save(distance_figure(along, findings.best_of_n, findings.fits), folder.path / "over_optimisation.svg")
    return flat_metrics(summary) | flat_findings(findings)
