"""Ground truth of the task `capitals`, and raters who know it; those of the other tasks are asked for here too.

Only oversight may import this, and the judgements stage for the training split of an expert arm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sandwiching.configs.schema import CapitalsTask, DataConfig, PlantedTask, TaskConfig
from sandwiching.tasks.answers import candidates, names_right
from sandwiching.tasks.capitals import facts_by_id, weak_knowledge
from sandwiching.tasks.columns import hash_rater
from sandwiching.tasks.facts import Fact
from sandwiching.tasks.people import Person
from sandwiching.tasks.planted_gold import world_experts, world_gold
from sandwiching.tasks.populations import Panel, habits_in, panel_size
from sandwiching.tasks.records import Gold, Prompt, Rater
from sandwiching.tasks.sealed import refuse_training


@dataclass(frozen=True, slots=True)
class FactsGold:
    """The facts themselves. Raises KeyError for a prompt of another task."""

    facts: Mapping[str, Fact]

    def correct(self, prompt: Prompt, response: str) -> bool:
        """Whether the first name in the response that could be an answer is a right one, in any spelling."""
        return names_right(self.facts[prompt.id], response)

    def candidates(self, prompt: Prompt) -> tuple[str, ...]:
        """Four sentences of one form: the right one, the misleading one where there is one, and other wrong ones."""
        fact = self.facts[prompt.id]
        return tuple(fact.sentence(name) for name in candidates(fact))


@dataclass(slots=True)
class Expert(Person):
    """A person who knows every fact, and still clicks at random as often as anybody."""

    def knows(self, fact: Fact) -> bool:
        """Always."""
        return True


def make_gold(task: TaskConfig) -> Gold:
    """Gold of the task. Raises ValueError for a task whose truth is not known, Sealed while a training stage works."""
    refuse_training(f"gold of task {task.name}")
    if isinstance(task, PlantedTask):
        return world_gold(task)
    if not isinstance(task, CapitalsTask):
        raise ValueError(f"task {task.name}: no computable truth; its check rests on expert judgements alone")
    return FactsGold(facts_by_id(task))


def expert_raters(task: TaskConfig, data: DataConfig, panel: Panel, seed: int = 0) -> list[Rater]:
    """The expert panel. Raises ValueError for a task whose experts are people: their judgements come in the file."""
    if isinstance(task, PlantedTask):
        return world_experts(task, panel, seed)
    if not isinstance(task, CapitalsTask):
        raise ValueError(f"task {task.name}: experts cannot be simulated; put their judgements in {data.judgements}")
    known = facts_by_id(task)
    return [
        Expert(
            id=hash_rater(f"simulated expert {panel} {seed} {number}"),
            tier="expert",
            seed=seed,
            ability=0.0,
            knowledge=weak_knowledge(task, known),
            habits=habits_in(task),
            facts=known,
        )
        for number in range(panel_size(task, panel))
    ]
