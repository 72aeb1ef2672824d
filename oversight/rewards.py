"""What each arm's reward ensemble says of the texts of a check, and how good the labels are that it learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from sandwiching.configs.schema import ArmLabels, CheckConfig, DataConfig, ModelConfig, TaskConfig
from sandwiching.oversight.agreement import arm_outcomes
from sandwiching.oversight.exam import Trails, Work
from sandwiching.oversight.expert_pairs import ExpertPair, fitting_pairs, majority_right, single_vote_right
from sandwiching.oversight.gold_pairs import gold_pairs
from sandwiching.oversight.items import Item
from sandwiching.oversight.outcomes import FLOOR, policy_name
from sandwiching.oversight.reward_check import Ensemble, members_of, reward_score
from sandwiching.tasks.capitals_gold import expert_raters
from sandwiching.tasks.registry import make_task
from sandwiching.training.roles import Roles
from sandwiching.training.text_scores import Score, Scored

NOT_ASKED = {"weak": ("people", "model"), "expert": ("people",)}
"""judgements.raters, by tier, who are not asked again about held-out pairs."""


@dataclass(frozen=True, slots=True)
class Rewards:
    """Asks the reward ensembles of the arms, one after the other."""

    model: ModelConfig
    ensembles: Mapping[str, Ensemble]
    parents: Mapping[str, Path]
    roles: Roles
    work: Work

    def of_arms(
        self,
        record: Mapping[str, Any],
        points: Trails,
        items: Sequence[Item],
        dev: Sequence[Item],
        pairs: list[ExpertPair],
    ) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
        """By arm/seedN, outcomes of the gold `pairs` and scores of the floor's `pool` and of the arm's own `samples`;
        and the trails of `points` on `dev`, with the arm's scores. Raises ValueError for an arm without
        reward models."""
        found = {}
        for arm in record["arms"]:
            for seed in record["seeds"]:
                name = policy_name(arm, seed)
                floor = record["policies"][policy_name(FLOOR, seed)]
                asked = {
                    "pool": (items, [floor.get("pool", floor)]),
                    "samples": (items, [record["policies"][name]]),
                    "trail": (dev, points[name]),
                }
                found[name] = self.work.part(
                    f"rewards-{name}", lambda arm=arm, seed=seed, asked=asked: self._scored(arm, seed, asked, pairs)
                )
        along = {name: one.pop("trail") for name, one in found.items()}
        groups = [item.prompt.group for item in dev]
        return found, {"seeds": record["seeds"], "groups": groups, "points": points, "rewards": along}

    def _scored(
        self,
        arm: str,
        seed: int,
        asked: Mapping[str, tuple[Sequence[Item], Sequence[Mapping[str, Any]]]],
        pairs: list[ExpertPair],
    ) -> dict[str, Any]:
        score = reward_score(members_of(arm, seed, self.parents), self.ensembles[arm], self.model, self.roles)
        rows = {name: [nested(score, items, one) for one in answers] for name, (items, answers) in asked.items()}
        return {
            "pairs": arm_outcomes(pairs, score),
            "pool": rows["pool"][0],
            "samples": rows["samples"][0],
            "trail": rows["trail"],
        }


def nested(score: Score, items: Sequence[Item], answers: Mapping[str, Any]) -> list[list[float]]:
    """Scores by item and sample; equal texts are scored once."""
    rows = [
        [Scored(item.prompt.text, response, finished) for response, finished in zip(responses, ended, strict=True)]
        for item, responses, ended in zip(items, answers["responses"], answers["finished"], strict=True)
    ]
    keys = [[(place, one.response, one.finished) for one in row] for place, row in enumerate(rows)]
    texts = {key: one for row, names in zip(rows, keys, strict=True) for key, one in zip(names, row, strict=True)}
    scores = dict(zip(texts, score(list(texts.values())).tolist(), strict=True))
    return [[scores[key] for key in names] for names in keys]


def label_record(
    task: TaskConfig,
    data: DataConfig,
    check: CheckConfig,
    labels: Mapping[str, ArmLabels],
    seed: int,
    model: ModelConfig,
    tokenizer: PreTrainedTokenizerBase,
) -> tuple[list[ExpertPair], dict[str, Any]]:
    """Gold pairs of the checked split, and how right labels of each arm's kind of raters are on them.

    line: one weak vote of the check panel; arms: the majority of as many votes as the arm has a pair, by people of the
    kinds that label for it; missing: arms whose raters cannot be asked again. Pairs too long for the model are dropped.
    """
    dropping = replace(data, too_long="drop")

    def fitting(pairs: list[ExpertPair]) -> list[ExpertPair]:
        return fitting_pairs(pairs, tokenizer, model, dropping)[0]

    pairs = fitting(gold_pairs(task, data, check, seed))
    arms, missing = {}, {}
    for arm, asked in labels.items():
        if asked.raters in NOT_ASKED[asked.tier]:
            missing[arm] = f"judgements.raters={asked.raters}: its raters are not asked again about held-out pairs"
            continue
        raters = (
            expert_raters(asked.task, data, "check", seed)
            if asked.tier == "expert"
            else make_task(asked.task, data, seed).weak_raters("check")
        )
        count = min(asked.raters_per_pair, len(raters))
        arms[arm] = majority_right(fitting(gold_pairs(asked.task, data, check, seed, raters, count))).tolist()
    line = single_vote_right(pairs).tolist()
    return pairs, {"groups": [pair.group for pair in pairs], "line": line, "arms": arms, "missing": missing}
