"""The task `capitals`: facts of GeoNames, judged by simulated weak people who go by familiar names where they know not.

Gold and expert raters are in capitals_gold.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist
from typing import Literal

from sandwiching.configs.schema import CapitalsTask, DataConfig
from sandwiching.tasks.columns import hash_rater
from sandwiching.tasks.facts import Fact, facts
from sandwiching.tasks.geonames import world
from sandwiching.tasks.people import Habits, Knowledge, Person, fitted_knowledge
from sandwiching.tasks.records import SPLITS, Demonstration, Prompt, Split
from sandwiching.tasks.splits import keep, rank, split_groups

Panel = Literal["training", "check"]


class Capitals:
    """Task on the facts of the kinds in the config. The group of a prompt is its country."""

    def __init__(self, task: CapitalsTask, data: DataConfig, seed: int) -> None:
        self.task = task
        self.seed = seed
        self.facts = facts_by_id(task)
        self._prompts = _split_prompts(task, data, self.facts)

    def prompts(self, split: Split) -> list[Prompt]:
        """Prompts of a split, by country and kind."""
        return list(self._prompts[split])

    def demonstrations(self) -> list[Demonstration]:
        """Answers to the training prompts, each by `demonstrators` different people of the training panel."""
        people = self.weak_raters("training")
        found = []
        for prompt in self._prompts["train"]:
            writers = sorted(people, key=lambda person: rank(f"{self.seed} {prompt.id}", person.id))
            for person in writers[: self.task.demonstrators]:
                found.append(Demonstration(prompt, person.answer(self.facts[prompt.id])))
        return found

    def weak_raters(self, panel: Panel) -> list[Person]:
        """The weak panel, abilities spread evenly over their distribution."""
        size = panel_size(self.task, panel)
        knowledge = weak_knowledge(self.task, self.facts)
        return [
            Person(
                id=hash_rater(f"simulated weak {panel} {self.seed} {number}"),
                tier="weak",
                seed=self.seed,
                ability=knowledge.spread * NormalDist().inv_cdf((number + 0.5) / size),
                knowledge=knowledge,
                habits=habits(self.task),
                facts=self.facts,
            )
            for number in range(size)
        ]


def facts_by_id(task: CapitalsTask) -> dict[str, Fact]:
    """All facts of the task, whichever split they are in. Raises ValueError when there are none."""
    found = {fact.id: fact for fact in facts(task.kinds, task.min_population)}
    if not found:
        raise ValueError(f"task: no facts of {task.kinds} in countries of {task.min_population:,} people; lower it")
    return found


def weak_knowledge(task: CapitalsTask, known: Mapping[str, Fact]) -> Knowledge:
    """What weak people know, such that its mean over all questions is task.competence."""
    populations = tuple(world().countries[fact.country].population for fact in known.values())
    return fitted_knowledge(populations, task.competence, task.population_slope, task.ability_spread)


def habits(task: CapitalsTask) -> Habits:
    """How the task's people judge."""
    return Habits(task.misconception, task.length_bias, task.confidence_bias, task.lapse)


def panel_size(task: CapitalsTask, panel: Panel) -> int:
    """Number of people in a panel of either tier."""
    return task.raters if panel == "training" else task.check_raters


def _split_prompts(task: CapitalsTask, data: DataConfig, known: Mapping[str, Fact]) -> dict[Split, list[Prompt]]:
    by_group = data.holdout == "group"
    prompts = [
        Prompt(fact.id, fact.prompt, world().countries[fact.country].name if by_group else fact.id, fact.kind)
        for fact in known.values()
    ]
    splits = data.splits
    place = split_groups(
        {prompt.group for prompt in prompts},
        dev=splits.dev,
        final=splits.final,
        salt=splits.salt,
        dev_groups=splits.dev_groups,
        final_groups=splits.final_groups,
    )
    return {
        split: keep([prompt for prompt in prompts if place[prompt.group] == split], task.max_prompts, splits.salt)
        for split in SPLITS
    }
