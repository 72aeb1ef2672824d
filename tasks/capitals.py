"""The task `capitals`: facts of GeoNames, judged by simulated weak people who go by familiar names where they know not.

Gold and expert raters are in capitals_gold.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from statistics import NormalDist

from sandwiching.configs.schema import CapitalsTask, DataConfig, PeopleKind
from sandwiching.tasks.columns import hash_rater
from sandwiching.tasks.facts import Fact, facts
from sandwiching.tasks.geonames import world
from sandwiching.tasks.people import Knowledge, Person, fitted_knowledge
from sandwiching.tasks.populations import Panel, habits_in, kinds_of, panel_size, with_kind
from sandwiching.tasks.records import Demonstration, Prompt, Split
from sandwiching.tasks.splits import rank, split_prompts


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
        kinds = kinds_of(self.task.population, size, f"population {panel} {self.seed}")
        return [self._person(panel, number, (number + 0.5) / size, kind) for number, kind in enumerate(kinds)]

    def _person(self, panel: Panel, number: int, quantile: float, name: str) -> Person:
        kind = self.task.population.get(name)
        task = with_kind(self.task, kind)
        knowledge = weak_knowledge(task, self.facts)
        return Person(
            id=hash_rater(f"simulated weak {panel} {self.seed} {number}"),
            tier="weak",
            seed=self.seed,
            ability=knowledge.spread * NormalDist().inv_cdf(quantile),
            knowledge=knowledge,
            habits=habits_in(task, kind),
            facts=self.facts,
            topics=topic_knowledge(task, self.facts, kind),
            kind=name,
        )


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


def topic_knowledge(task: CapitalsTask, known: Mapping[str, Fact], kind: PeopleKind | None) -> dict[str, Knowledge]:
    """What a kind of people knows of the kinds of fact in which its competence is another one."""
    topics = kind.topics if kind is not None else {}
    unknown = sorted(set(topics) - set(task.kinds))
    if unknown:
        raise ValueError(f"task.population: topics {', '.join(unknown)} are not asked for; use {', '.join(task.kinds)}")
    return {
        topic: weak_knowledge(
            replace(task, competence=competence), {name: fact for name, fact in known.items() if fact.kind == topic}
        )
        for topic, competence in topics.items()
    }


def _split_prompts(task: CapitalsTask, data: DataConfig, known: Mapping[str, Fact]) -> dict[Split, list[Prompt]]:
    by_group = data.holdout == "group"
    prompts = [
        Prompt(fact.id, fact.prompt, world().countries[fact.country].name if by_group else fact.id, fact.kind)
        for fact in known.values()
    ]
    return split_prompts(prompts, data.splits, task.max_prompts)
