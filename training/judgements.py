"""Judgements of one tier for the training split: asked of raters about sampled pairs, or read from the user's file.

Weak raters may be simulated people or a language model instead: then they are asked about the file's pairs too. Where
labels are spent in rounds, an artifact holds the judgements of all rounds up to its own.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from sandwiching.configs.schema import (
    DataConfig,
    JudgementsConfig,
    JudgementsTask,
    LabelsConfig,
    ResourcesConfig,
    TaskConfig,
)
from sandwiching.tasks.capitals_gold import expert_raters
from sandwiching.tasks.judgements import JudgementsFile
from sandwiching.tasks.readers import JudgementRow, read_judgements, write_judgements
from sandwiching.tasks.records import Rater, Tier
from sandwiching.tasks.registry import make_task
from sandwiching.training.artifacts import StageFolder
from sandwiching.training.model_judgements import judge_with_model
from sandwiching.training.pairs import SampledPair, read_pairs
from sandwiching.training.people_judgements import judged_by_people
from sandwiching.training.roles import Roles

FILE = "judgements.jsonl.gz"


def collect_judgements(
    *,
    task: TaskConfig,
    data: DataConfig,
    judgements: JudgementsConfig,
    labels: LabelsConfig,
    seed: int,
    tier: Tier,
    resources: ResourcesConfig,
    parents: Mapping[str, Path],
    folder: StageFolder,
    roles: Roles,
) -> dict[str, float]:
    """Write judgements.jsonl.gz: those of the round before (parent judgements), then the new ones. Returns counts, the
    share of ties and the cost of all.

    Raises ValueError when there is nothing to judge or no judgement of the tier.
    """
    new, metrics = _judged(task, data, judgements, seed, tier, parents, folder, roles)
    if not new:
        raise ValueError("judgements: there is nothing to judge, since no prompt has two different responses")
    before = read_judgements(parents["judgements"] / FILE) if "judgements" in parents else []
    rows = [*before, *new]
    write_judgements(
        folder.path / FILE,
        [row.judgement for row in rows],
        [row.finished_a for row in rows],
        [row.finished_b for row in rows],
    )
    ties = sum(row.judgement.preference == "tie" for row in rows)
    return {
        "judgements/judgements": len(rows),
        "judgements/new": len(new),
        "judgements/raters": len({row.judgement.rater for row in rows}),
        "judgements/ties": ties / len(rows),
        "judgements/units": len(rows) * getattr(labels.cost, tier),
        **metrics,
    }


def _judged(
    task: TaskConfig,
    data: DataConfig,
    judgements: JudgementsConfig,
    seed: int,
    tier: Tier,
    parents: Mapping[str, Path],
    folder: StageFolder,
    roles: Roles,
) -> tuple[list[JudgementRow], dict[str, float]]:
    """New judgements, and what a model rater used."""
    rejected = folder.path / "rejected.jsonl"
    if judgements.raters == "people":
        asked = _asked(task, data, seed, parents, rejected)
        return judged_by_people(asked, parents["pairs"], tier, getattr(judgements.people, tier)), {}
    if tier == "weak" and judgements.raters == "model":
        asked = _asked(task, data, seed, parents, rejected)
        pairs = [pair for pair, _, _ in asked]
        found, metrics = judge_with_model(pairs, judgements, tier, parents, folder, roles)
        return [JudgementRow(one, *ended) for one, (_, *ended) in zip(found, asked, strict=True)], metrics
    if "pairs" in parents or (tier == "weak" and judgements.raters == "simulated"):
        raters = raters_of(task, data, seed, tier)
        return ask(raters, _asked(task, data, seed, parents, rejected), judgements.raters_per_pair, seed), {}
    return _file(task, data, seed, rejected).training_judgements(tier), {}


def raters_of(task: TaskConfig, data: DataConfig, seed: int, tier: Tier) -> Sequence[Rater]:
    """The task's own training panel."""
    if tier == "expert":
        return expert_raters(task, data, "training", seed)
    return make_task(task, data, seed).weak_raters("training")


def _asked(
    task: TaskConfig, data: DataConfig, seed: int, parents: Mapping[str, Path], rejected: Path
) -> Sequence[SampledPair]:
    """The pairs to judge: those sampled, or those that weak raters of the file's training split judged."""
    return read_pairs(parents["pairs"]) if "pairs" in parents else _file(task, data, seed, rejected).training_pairs()


def _file(task: TaskConfig, data: DataConfig, seed: int, rejected: Path) -> JudgementsFile:
    assert isinstance(task, JudgementsTask)
    return JudgementsFile(task, data, seed, rejected)


def ask(raters: Sequence[Rater], pairs: Sequence[SampledPair], raters_per_pair: int, seed: int) -> list[JudgementRow]:
    """Each pair goes to `raters_per_pair` different raters, drawn by (seed, pair)."""
    if raters_per_pair > len(raters):
        raise ValueError(f"judgements.raters_per_pair is {raters_per_pair}, but the panel has {len(raters)} raters")
    rows = []
    for pair, finished_a, finished_b in pairs:
        asked = random.Random(f"{seed}/{pair.id}").sample(list(raters), raters_per_pair)
        rows += [JudgementRow(rater.judge(pair), finished_a, finished_b) for rater in asked]
    return rows
