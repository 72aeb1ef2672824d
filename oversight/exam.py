"""The asking of a check: every policy on the same held-out prompts, judged by gold and by raters of the check panel.

Each part is kept beside the check's items in the expert store, so that a restart asks nothing twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sandwiching.oversight.answers import Answers, Examiner
from sandwiching.oversight.approval import approvals, assigned
from sandwiching.oversight.curves import Curve, curve
from sandwiching.oversight.gold_curves import gold_along, gold_point, seen
from sandwiching.oversight.items import Item
from sandwiching.oversight.outcomes import FLOOR, policy_name
from sandwiching.oversight.policies import Policies
from sandwiching.oversight.rater_line import rater_answers
from sandwiching.oversight.trails import Point
from sandwiching.tasks.records import Rater
from sandwiching.training.artifacts import StageFolder, write_atomic

Trails = dict[str, list[dict[str, Any]]]
"""Points along each PPO run by arm/seedN, the floor first."""

OVER_SAMPLES = ("responses", "finished", "correct", "kl", "approvals")
"""Parts of a policy's record that have a list over samples."""


@dataclass(slots=True)
class Work:
    """Parts of the check, each kept as JSON in the folder `parts` so that a restart does not ask again."""

    folder: StageFolder
    parts: Path
    total: int
    done: int = 0

    def part(self, name: str, compute: Callable[[], Any]) -> Any:
        """The part's JSON value."""
        file = self.parts / f"{name.replace('/', '-')}.json"
        if not file.exists():
            self.parts.mkdir(parents=True, exist_ok=True)
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
        """Answers of a policy and their approval. The floor (no anchors given) draws more samples: the anchor, and as
        many as best-of-n chooses from."""
        check = self.examiner.check
        drawn = check.samples if anchors is not None else 1 + max(check.samples, check.best_of or 0)
        self.examiner.engine.load(self.policies.models[name, seed], 0)
        answers = self.examiner.examine(self.items, drawn, seed, self.policies.starts.get((name, seed)))
        record: dict[str, Any] = {}
        if anchors is None:
            anchors = [row[check.samples] for row in answers.responses]
            record = {"anchors": anchors, "anchors_correct": [row[check.samples] for row in answers.correct]}
            answers = without_sample(answers, check.samples)
        record |= {**asdict(answers), "approvals": self.verdicts(self.items, answers.responses, anchors)}
        if drawn > check.samples + 1:
            record["pool"] = {part: record[part] for part in OVER_SAMPLES}
            record |= {part: [row[: check.samples] for row in record[part]] for part in OVER_SAMPLES}
        return record

    def verdicts(
        self, items: Sequence[Item], responses: Sequence[Sequence[str]], anchors: Sequence[str]
    ) -> list[list[list[float]]]:
        """Approval of each response over its item's anchor, by each rater of the item."""
        count = self.examiner.check.raters_per_response
        return [
            approvals(item.prompt, row, anchor, assigned(item.prompt, self.raters, count))
            for item, row, anchor in zip(items, responses, anchors, strict=True)
        ]

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

    def trails(self, dev: Sequence[Item]) -> Trails:
        """Every PPO run on dev prompts, along its snapshots; each starts at the floor it was trained from."""

        def at_start(place: Path, seed: int) -> dict[str, Any]:
            """Its last sample is the anchor."""
            samples = self.examiner.check.samples
            self.examiner.engine.load(place, 0)
            answers = self.examiner.examine(dev, samples + 1, seed)
            anchors = [row[samples] for row in answers.responses]
            answers = without_sample(answers, samples)
            approved = self.shares(dev, answers.responses, anchors)
            return {"anchors": anchors, "point": asdict(seen(0, answers, approved))}

        def along(arm: str, seed: int, anchors: Sequence[str]) -> list[dict[str, Any]]:
            start, artifact = self.policies.starts[arm, seed], self.policies.artifacts[arm, seed]
            self.examiner.engine.load(start, 0)
            points = gold_along(
                self.examiner, start, artifact, dev, seed, lambda items, texts: self.shares(items, texts, anchors)
            )
            return [asdict(point) for point in points]

        found: Trails = {}
        for arm, seed in self.policies.artifacts:
            place, name = self.policies.starts[arm, seed], policy_name(arm, seed)
            start = self.work.part(start_name(place, seed), lambda place=place, seed=seed: at_start(place, seed))
            rest = self.work.part(
                f"trail-{name}", lambda arm=arm, seed=seed, start=start: along(arm, seed, start["anchors"])
            )
            found[name] = [start["point"], *rest]
        return found

    def shares(
        self, items: Sequence[Item], responses: Sequence[Sequence[str]], anchors: Sequence[str]
    ) -> list[list[float]]:
        """Share of raters who approve, by item and sample."""
        return [[float(np.mean(votes)) for votes in row] for row in self.verdicts(items, responses, anchors)]

    def curves(self, trails: Trails) -> list[Curve]:
        """A curve a PPO run: its own metrics, and gold from its trail."""
        return [
            curve(arm, seed, artifact, [gold_point(Point(**point)) for point in trails[policy_name(arm, seed)]])
            for (arm, seed), artifact in self.policies.artifacts.items()
        ]


def start_name(place: Path, seed: int) -> str:
    """The part that arms share when their PPO began from one policy."""
    return f"trail-start-{place.parent.name}-seed{seed}"


def without_sample(answers: Answers, sample: int) -> Answers:
    """Answers without one sample of every item."""

    def kept(rows: list[list[Any]]) -> list[list[Any]]:
        return [row[:sample] + row[sample + 1 :] for row in rows]

    return replace(
        answers, **{name: kept(getattr(answers, name)) for name in ("responses", "finished", "correct", "kl")}
    )
