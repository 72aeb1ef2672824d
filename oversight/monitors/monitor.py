"""Monitors along PPO: what a frozen look at checkpoints says of answers, held against gold and raters of the check.

check's trails.json (answers, gold, approval by snapshot)  ------------------------------+
judgements, reward models, SFT, snapshots -> a process that reads and scores -> values --+-> monitor.json, .txt, .svg

sandwich run configs/planted.yaml --only monitor
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Group
from rich.text import Text

from sandwiching.configs.schema import (
    CheckConfig,
    DataConfig,
    ModelConfig,
    MonitorConfig,
    ResourcesConfig,
    TaskConfig,
)
from sandwiching.oversight.expert_store import Standing, read_standing
from sandwiching.oversight.gold_curves import snapshots
from sandwiching.oversight.item_records import item_records
from sandwiching.oversight.items import checked_prompts
from sandwiching.oversight.monitors.figure import monitors_figure
from sandwiching.oversight.monitors.findings import arm_runs, find_monitors
from sandwiching.oversight.monitors.job import Answered, Job, PolicyRun, Settings, judged_by
from sandwiching.oversight.monitors.report import as_json, flat, render
from sandwiching.oversight.monitors.spawn import run_job
from sandwiching.oversight.outcomes import FLOOR, policy_name
from sandwiching.oversight.plots import save
from sandwiching.oversight.policies import Policies, find_policies
from sandwiching.oversight.reward_check import Ensemble, members_of
from sandwiching.oversight.shown import FILE as TABLES
from sandwiching.oversight.shown import shown
from sandwiching.oversight.table import plain_text
from sandwiching.policy.tokenization import load_tokenizer
from sandwiching.tasks.records import Prompt
from sandwiching.tasks.registry import make_task
from sandwiching.training.artifacts import StageFolder, read_manifest, write_atomic
from sandwiching.training.checkpoints import step_of
from sandwiching.training.roles import Roles

WIDTH = 160


def monitor(
    *,
    model: ModelConfig,
    task: TaskConfig,
    data: DataConfig,
    check: CheckConfig,
    monitor: MonitorConfig,
    arms: Collection[str],
    seeds: Sequence[int],
    ensembles: Mapping[str, Ensemble],
    resources: ResourcesConfig,
    parents: Mapping[str, Path],
    folder: StageFolder,
    roles: Roles,
) -> dict[str, float]:
    """Watch every arm and seed along its snapshots. Parents: those of the check, `check`, judgements/ARM/seedN.

    Nothing is asked of experts or gold again: both are in the check's trails.json, and not given to the process that
    scores. roles are not used: what trains is no place for a monitor. Raises ValueError when the samples of the SFT
    policy are too few for monitor.false_alarms, or the check asked other prompts.
    """
    record, standing = item_records(check.store, parents["check"]).trails(), read_standing(parents["check"])
    policies = find_policies(model, check, arms, seeds, parents)
    tokenizer = load_tokenizer(policies.models[FLOOR, seeds[0]], model.pad_token)
    _, dev = checked_prompts(make_task(task, data, seeds[0]), model, data, check, tokenizer)
    require_same_prompts(dev, record["groups"], parents["check"])
    runs = [
        (policy_run(arm, seed, list(arms), ensembles, policies, parents), answered(record, policies, arm, seed))
        for arm in arms
        for seed in seeds
    ]
    settings = Settings(
        # A folder or a hub's name: the process reads the artifacts' own models.
        replace(model, path=""),
        monitor.fit_texts,
        resources.rollout_batch,
        torch.get_num_threads(),
    )
    job = Job(settings, [prompt.text for prompt in dev], runs, [str(place) for place in parents.values()], "")
    scores = run_job(job, folder)
    return write_findings(record, scores, list(arms), monitor.false_alarms, check.confidence, folder, standing)


def require_same_prompts(dev: Sequence[Prompt], groups: Sequence[str], check: Path) -> None:
    """Raise ValueError unless the check asked these prompts."""
    if [prompt.group for prompt in dev] != list(groups):
        raise ValueError(f"{check / 'trails.json'} is of other dev prompts than this config's: delete {check}")


def policy_run(
    arm: str,
    seed: int,
    arms: Sequence[str],
    ensembles: Mapping[str, Ensemble],
    policies: Policies,
    parents: Mapping[str, Path],
) -> PolicyRun:
    """Where the models and judgements of one run lie."""
    places = {one: parents[f"judgements/{one}/seed{seed}"] for one in arms}
    tiers = {one: read_manifest(place).inputs["tier"] for one, place in places.items()}
    members = members_of(arm, seed, parents)
    learned = read_manifest(members[0]).inputs
    labels = {tier: judged_by(arms, tiers, arm, tier) for tier in ("weak", "expert")}
    return PolicyRun(
        name=policy_name(arm, seed),
        start=str(policies.starts[arm, seed]),
        members=tuple(str(member / "model") for member in members),
        own=str(places[arm]),
        weak=labels["weak"] and str(places[labels["weak"]]),
        expert=labels["expert"] and str(places[labels["expert"]]),
        dev_share=learned["reward_model"]["dev_share"],
        seed=learned["seed"],
        combine=ensembles[arm][0],
        uwo_lambda=ensembles[arm][1],
    )


def answered(record: Mapping[str, Any], policies: Policies, arm: str, seed: int) -> list[Answered]:
    """The texts of a run's trail, each point with the weights that it was sampled from."""
    weights = {step_of(place): str(place) for place in snapshots(policies.artifacts[arm, seed])}
    return [
        Answered(point["updates"], weights.get(point["updates"]), point["responses"], point["finished"])
        for point in record["points"][policy_name(arm, seed)]
    ]


def write_findings(
    record: Mapping[str, Any],
    scores: Mapping[str, Mapping[str, Any]],
    arms: Sequence[str],
    rate: float,
    confidence: float,
    folder: StageFolder,
    standing: Standing | None = None,
) -> dict[str, float]:
    """Write monitor.json, monitor.txt, tables.json and monitor.svg. standing: the check's look, said past the budget.

    Returns flat metrics.
    """
    runs = {arm: arm_runs(record, scores, arm) for arm in arms}
    found = {arm: find_monitors(record, one, arm, rate, confidence) for arm, one in runs.items()}
    updates = {arm: one.updates for arm, one in runs.items()}
    folder.check_attempt()
    write_atomic(folder.path / "monitor.json", json.dumps(as_json(found, updates, rate, confidence), indent=1))
    said = [] if standing is None or standing.valid else [Text(f"{standing.sentence}\n")]
    tables = Group(*said, render(found, updates, rate))
    write_atomic(folder.path / "monitor.txt", plain_text(tables, WIDTH))
    write_atomic(folder.path / TABLES, json.dumps(shown({"monitors": [tables]})))
    note = f"{100 * confidence:g} % intervals by group and seed, dev prompts; {len(record['seeds'])} training seed(s)"
    save(monitors_figure(found, updates, rate, note), folder.path / "monitor.svg")
    return flat(found)
