"""The check: on held-out prompts, did training on weak judgements make the policy right, or only approved?

    floor and each arm, a policy a seed -> free samples graded by gold, forced choice \\
    raters who labelled nothing         -> their own choices, approval of the samples -> check.json -> table, check.svg
    PPO's metrics and snapshots         -> reward, KL, gold on dev prompts            -> curves.json, curves.svg

    sandwich run configs/capitals.yaml --only check
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sandwiching.configs.schema import CheckConfig, DataConfig, JudgementsTask, ModelConfig, ResourcesConfig, TaskConfig
from sandwiching.oversight.answers import Answers, Examiner
from sandwiching.oversight.approval import approvals, assigned
from sandwiching.oversight.curves import Curve, GoldPoint, curve
from sandwiching.oversight.gold_curves import gold_along, gold_point
from sandwiching.oversight.items import Item, checked_prompts, items_of
from sandwiching.oversight.outcomes import FLOOR, outcomes, policy_name
from sandwiching.oversight.plots import mean_chance, sandwich, save, save_curves
from sandwiching.oversight.policies import Policies, find_policies
from sandwiching.oversight.rater_line import rater_answers
from sandwiching.oversight.reward_check import Ensemble, check_rewards
from sandwiching.oversight.summary import flat_metrics, jsonable, summarise
from sandwiching.oversight.table import plain_text, render
from sandwiching.policy.base_models import identity
from sandwiching.policy.tokenization import load_tokenizer
from sandwiching.tasks.capitals_gold import make_gold
from sandwiching.tasks.knowledge import cells, require_filling
from sandwiching.tasks.records import Prompt, Rater
from sandwiching.tasks.registry import make_task
from sandwiching.training.artifacts import StageFolder, write_atomic
from sandwiching.training.roles import EngineSpec, Roles

VERSION = 1


@dataclass(slots=True)
class Work:
    """Parts of the check, each kept as JSON in the folder's cache so that a restart does not ask again."""

    folder: StageFolder
    total: int
    done: int = 0

    def part(self, name: str, compute: Callable[[], Any]) -> Any:
        """The part's JSON value."""
        file = self.folder.cache / f"{name.replace('/', '-')}.json"
        if not file.exists():
            file.parent.mkdir(exist_ok=True)
            value = json.dumps(compute())
            self.folder.check_attempt()
            write_atomic(file, value)
        self.done += 1
        self.folder.report(self.done, self.total)
        self.folder.stop_if_asked()
        return json.loads(file.read_text())


@dataclass(frozen=True, slots=True)
class Exam:
    """The check of some policies on some items, by some raters."""

    examiner: Examiner
    policies: Policies
    items: Sequence[Item]
    raters: Sequence[Rater]
    work: Work

    def policy(self, name: str, seed: int, anchors: Sequence[str] | None) -> dict[str, Any]:
        """Answers of a policy and their approval. The floor (no anchors given) draws one sample more: the anchor."""
        samples = self.examiner.check.samples
        self.examiner.engine.load(self.policies.models[name, seed], 0)
        answers = self.examiner.examine(self.items, samples + (anchors is None), seed)
        record: dict[str, Any] = {}
        if anchors is None:
            anchors = [row[samples] for row in answers.responses]
            record = {"anchors": anchors, "anchors_correct": [row[samples] for row in answers.correct]}
            answers = without_sample(answers, samples)
        count = self.examiner.check.raters_per_response
        asked = zip(self.items, answers.responses, anchors, strict=True)
        record["approvals"] = [
            approvals(item.prompt, responses, anchor, assigned(item.prompt, self.raters, count))
            for item, responses, anchor in asked
        ]
        return {**asdict(answers), **record}

    def answers(self, arms: Collection[str], seeds: Sequence[int]) -> dict[str, Any]:
        """Every policy's record by its name; an anchor is the floor's sample of the same training seed."""
        records = {}
        for seed in seeds:
            floor = policy_name(FLOOR, seed)
            records[floor] = self.work.part(floor, lambda seed=seed: self.policy(FLOOR, seed, None))
            for arm in arms:
                name, anchors = policy_name(arm, seed), records[floor]["anchors"]
                records[name] = self.work.part(
                    name, lambda arm=arm, seed=seed, anchors=anchors: self.policy(arm, seed, anchors)
                )
        return records

    def rater_line(self) -> list[dict[str, Any]]:
        """What the raters of each item choose themselves."""
        count = self.examiner.check.raters_per_response
        return [
            asdict(rater_answers(item.prompt, item.candidates, assigned(item.prompt, self.raters, count)))
            for item in self.items
        ]

    def curves(self, dev: Sequence[Item]) -> list[Curve]:
        """A curve a PPO run; each starts at the floor it was trained from."""

        def at_start(place: Path, seed: int) -> dict[str, Any]:
            self.examiner.engine.load(place, 0)
            return asdict(gold_point(0, self.examiner.examine(dev, self.examiner.check.samples, seed)))

        def along(arm: str, seed: int) -> list[dict[str, Any]]:
            self.examiner.engine.load(self.policies.starts[arm, seed], 0)
            points = gold_along(self.examiner, self.policies.artifacts[arm, seed], dev, seed)
            return [asdict(point) for point in points]

        found = []
        for (arm, seed), artifact in self.policies.artifacts.items():
            place, name = self.policies.starts[arm, seed], policy_name(arm, seed)
            start = self.work.part(start_name(place, seed), lambda place=place, seed=seed: at_start(place, seed))
            rest = self.work.part(f"curve-{name}", lambda arm=arm, seed=seed: along(arm, seed))
            found.append(curve(arm, seed, artifact, [GoldPoint(**point) for point in (start, *rest)]))
        return found


def start_name(place: Path, seed: int) -> str:
    """The part that arms share when their PPO began from one policy."""
    return f"curve-start-{place.parent.name}-seed{seed}"


def without_sample(answers: Answers, sample: int) -> Answers:
    """Answers without one sample of every item."""

    def kept(rows: list[list[Any]]) -> list[list[Any]]:
        return [row[:sample] + row[sample + 1 :] for row in rows]

    return Answers(kept(answers.responses), kept(answers.finished), kept(answers.correct), answers.logprobs)


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
    ensembles: Mapping[str, Ensemble] | None = None,
) -> dict[str, float]:
    """Check all arms and seeds at once. Parents: sft/seedN, sft/ARM/seedN, ppo/ARM/seedN; task judgements, which has no
    gold: ppo/ARM/seedN, reward_model/K/ARM/seedN, and each arm's ensemble.

    Raises ValueError when an arm has no policy, or a prompt no candidates.
    """
    if isinstance(task, JudgementsTask) or not any(name.startswith("ppo/") for name in parents):
        return check_rewards(model, task, data, check, list(arms), seeds, ensembles or {}, parents, folder, roles)
    policies = find_policies(model, check, arms, seeds, parents)
    start = policies.models[FLOOR, seeds[0]]
    engine = roles.engine(EngineSpec(start, model, adapters=model.lora is not None))
    gold = make_gold(task)
    examiner = Examiner(engine, load_tokenizer(start, model.pad_token), gold, model, check)
    prompts = make_task(task, data, seeds[0])
    held_out, dev_prompts = checked_prompts(prompts, model, data, check, examiner.tokenizer)
    items = items_of(held_out, gold, cells(task, held_out))
    dev = items_of(dev_prompts, gold, cells(task, dev_prompts))
    work = Work(folder, total=len(policies.models) + 2 * len(policies.artifacts))
    exam = Exam(examiner, policies, items, prompts.weak_raters("check"), work)
    record = {
        "version": VERSION,
        "split": check.split,
        "confidence": check.confidence,
        "ceiling": check.ceiling if check.ceiling in arms else None,
        "arms": list(arms),
        "seeds": list(seeds),
        "no_fooling": why_no_fooling(task, held_out, model),
        "items": [{**asdict(item.prompt), "candidates": item.candidates, "cell": item.cell} for item in items],
        "raters": exam.rater_line(),
        "policies": exam.answers(arms, seeds),
    }
    return write_results(folder, record, exam.curves(dev))


def why_no_fooling(task: TaskConfig, held_out: Sequence[Prompt], model: ModelConfig) -> str | None:
    """Why nothing here may be called fooling, or None where the knowledge table has filling enough."""
    try:
        require_filling(task, held_out, str(identity(model.path, model.revision)))
    except ValueError as reason:
        return str(reason)
    return None


def write_results(folder: StageFolder, record: Mapping[str, Any], curves: Sequence[Curve]) -> dict[str, float]:
    """Summarise a record; write check.json, check.txt, check.svg, curves.json and curves.svg. Returns flat metrics."""
    found = outcomes(record)
    summary = summarise(found, record["ceiling"], record["confidence"])
    whole = {"headline": summary.headline, **record, "summary": asdict(summary)}
    note = f"{100 * record['confidence']:g} % intervals; {summary.covers}"
    folder.check_attempt()
    write_atomic(folder.path / "check.json", json.dumps(jsonable(whole)))
    caveat = f"{record['no_fooling']}\n" if record["no_fooling"] else ""
    write_atomic(folder.path / "check.txt", plain_text(render(summary)) + caveat)
    save(sandwich(summary.rows, mean_chance(found), note), folder.path / "check.svg")
    save_curves(curves, folder.path)
    return flat_metrics(summary)
