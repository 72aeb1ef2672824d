"""The check of reward models: do they agree with experts, or with gold, on held-out pairs, and with what else?

A reward model is worth its training only if it beats the longer response, a weak vote and the weak majority.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from sandwiching.configs.schema import CheckConfig, DataConfig, JudgementsTask, ModelConfig, TaskConfig
from sandwiching.oversight.agreement import Agreement, agreement, arm_outcomes
from sandwiching.oversight.curves import Curve, curve
from sandwiching.oversight.expert_pairs import ExpertPair, expert_pairs, fitting_pairs, held_out_rows
from sandwiching.oversight.gold_pairs import gold_pairs
from sandwiching.oversight.item_records import CHECK_FILE, RECORD, SEALED, ItemRecords
from sandwiching.oversight.plots import levels, save, save_curves
from sandwiching.oversight.shown import FILE as TABLES
from sandwiching.oversight.shown import shown
from sandwiching.oversight.summary import jsonable
from sandwiching.oversight.table import accuracy_table, plain_text
from sandwiching.oversight.weak_gap import agreement_headline, weak_gap
from sandwiching.policy.base_models import resolve
from sandwiching.policy.tokenization import load_tokenizer
from sandwiching.reward_model.ensemble import COMBINE
from sandwiching.tasks.judgements import JudgementsFile
from sandwiching.training.artifacts import StageFolder, write_atomic
from sandwiching.training.roles import Roles, ScorerSpec
from sandwiching.training.text_scores import Score, ensemble_score

Ensemble = tuple[str, float]
"""How the members of an arm are combined: reward_model.combine and uwo_lambda."""


def held_out_pairs(
    model: ModelConfig, task: TaskConfig, data: DataConfig, check: CheckConfig, seed: int, folder: StageFolder
) -> tuple[list[ExpertPair], int]:
    """Pairs of the split that is checked, and how many are too long: by the verdicts of experts, or by gold.

    No pairs where no expert judged any.
    """
    tokenizer = load_tokenizer(resolve(model.path, model.revision), model.pad_token)
    if not isinstance(task, JudgementsTask):
        return fitting_pairs(gold_pairs(task, data, check, seed), tokenizer, model, data)
    file = JudgementsFile(task, data, seed, folder.path / "rejected.jsonl")
    rows = held_out_rows(file, check)
    if not any(row.judgement.tier == "expert" for row in rows):
        return [], 0
    return fitting_pairs(expert_pairs(rows), tokenizer, model, data)


def check_rewards(
    model: ModelConfig,
    task: TaskConfig,
    data: DataConfig,
    check: CheckConfig,
    arms: Sequence[str],
    seeds: Sequence[int],
    ensembles: Mapping[str, Ensemble],
    parents: Mapping[str, Path],
    folder: StageFolder,
    kept: ItemRecords | None,
    roles: Roles,
) -> dict[str, float]:
    """Write check.json, check.txt and check.svg for parents reward_model/K/ARM/seedN; curves of ppo/ARM/seedN if any.

    kept: where pairs and outcomes go, None where no expert judged any. Returns flat metrics.
    """
    pairs, too_long = held_out_pairs(model, task, data, check, seeds[0], folder)
    if not pairs:
        return _unchecked(check.split, _curves(arms, seeds, parents), folder)
    assert kept is not None
    outcomes: dict[str, list[list[float]]] = {arm: [] for arm in arms}
    for done, (arm, seed) in enumerate(product(arms, seeds), start=1):
        outcomes[arm].append(
            arm_outcomes(pairs, reward_score(members_of(arm, seed, parents), ensembles[arm], model, roles))
        )
        folder.report(done, len(arms) * len(seeds))
        folder.stop_if_asked()
    against = "experts" if isinstance(task, JudgementsTask) else "gold"
    head = {"split": check.split, "confidence": check.confidence, "arms": arms, "seeds": seeds, "too_long": too_long}
    found = _write_results(folder, kept, head, pairs, outcomes, against)
    if curves := _curves(arms, seeds, parents):
        save_curves(curves, folder.path)
    return _metrics(found)


def _write_results(
    folder: StageFolder,
    kept: ItemRecords,
    head: Mapping[str, Any],
    pairs: Sequence[ExpertPair],
    outcomes: Mapping[str, Sequence[Sequence[float]]],
    against: str,
) -> Agreement:
    """Write check.json, check.txt, tables.json and check.svg, and the pairs apart. against: experts, or gold."""
    confidence = head["confidence"]
    found = agreement(pairs, {arm: np.array(rows) for arm, rows in outcomes.items()}, confidence)
    items = {"pairs": [asdict(pair) for pair in pairs], "outcomes": outcomes}
    gap = weak_gap({**items, "confidence": confidence})
    folder.check_attempt()
    record = {
        "headline": agreement_headline(found, gap, against),
        **head,
        "summary": asdict(found),
        "weak_gap": asdict(gap),
        SEALED: {RECORD: kept.write(RECORD, jsonable(items))},
    }
    write_atomic(folder.path / CHECK_FILE, json.dumps(jsonable(record)))
    table = accuracy_table(found.accuracy, found.over, found.covers)
    write_atomic(folder.path / "check.txt", f"{record['headline']}\n{plain_text(table)}")
    write_atomic(folder.path / TABLES, json.dumps(shown({"sandwich": [table]})))
    note = f"{100 * confidence:g} % intervals; {found.covers}"
    save(levels(found.accuracy, f"Agreement with {against} on held-out pairs", note), folder.path / "check.svg")
    return found


def _unchecked(split: str, curves: Sequence[Curve], folder: StageFolder) -> dict[str, float]:
    """Say that without experts nothing was checked; curves of PPO all the same."""
    said = (
        f"Nothing was checked: no expert judged the {split} groups of data.judgements. A higher score of the reward "
        "models says that the policy pleases them, not that it got better."
    )
    folder.check_attempt()
    write_atomic(folder.path / CHECK_FILE, json.dumps({"split": split, "headline": said}))
    write_atomic(folder.path / "check.txt", f"{said}\n")
    if curves:
        save_curves(curves, folder.path)
    return {}


def _curves(arms: Sequence[str], seeds: Sequence[int], parents: Mapping[str, Path]) -> list[Curve]:
    """Proxy reward and KL of each PPO run, without gold; none where the run stops at reward models."""
    places = {(arm, seed): f"ppo/{arm}/seed{seed}" for arm, seed in product(arms, seeds)}
    return [curve(arm, seed, parents[name], []) for (arm, seed), name in places.items() if name in parents]


def members_of(arm: str, seed: int, parents: Mapping[str, Path]) -> list[Path]:
    """Reward models of an arm's ensemble."""
    place = f"/{arm}/seed{seed}"
    found = [path for name, path in parents.items() if name.startswith("reward_model/") and name.endswith(place)]
    if not found:
        raise ValueError(f"arms.{arm}: there is no reward model of seed {seed} to check")
    return found


def reward_score(members: Sequence[Path], ensemble: Ensemble, model: ModelConfig, roles: Roles) -> Score:
    """The arm's members, combined."""
    combine, uwo_lambda = ensemble
    models = tuple(member / "model" for member in members)
    return ensemble_score(
        roles.scorer(ScorerSpec(models, None, model, temperature=1.0)),
        load_tokenizer(models[0], model.pad_token),
        model.separator,
        lambda rewards_KB: COMBINE[combine](rewards_KB, uwo_lambda),
    )


def _metrics(found: Agreement) -> dict[str, float]:
    metrics = {f"check/{name.replace(' ', '_')}/agreement": one.estimate for name, one in found.accuracy.items()}
    for arm, baselines in found.over.items():
        for name, one in baselines.items():
            metrics[f"check/{arm}/over_{name.replace(' ', '_')}"] = one.estimate
    return metrics
