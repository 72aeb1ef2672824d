"""Ground truth of the task `planted`, and raters who know it; for the same few as capitals_gold.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sandwiching.configs.schema import PlantedTask
from sandwiching.tasks.columns import hash_rater
from sandwiching.tasks.planted import weak_knowledge
from sandwiching.tasks.planted_people import Townsperson
from sandwiching.tasks.planted_world import TownFact, facts_by_id
from sandwiching.tasks.populations import Panel, habits_in, panel_size
from sandwiching.tasks.records import Prompt, Rater


@dataclass(frozen=True, slots=True)
class WorldGold:
    """The facts of the world. Raises KeyError for a prompt of another task."""

    facts: Mapping[str, TownFact]

    def correct(self, prompt: Prompt, response: str) -> bool:
        """Whether the first answer in the response is the right one."""
        return self.facts[prompt.id].names_right(response)

    def candidates(self, prompt: Prompt) -> tuple[str, ...]:
        """Bare answers: the right one, what people say, and two that nobody says."""
        return self.facts[prompt.id].candidates()


@dataclass(slots=True)
class KnowsAll(Townsperson):
    """An expert, who still clicks at random as often as anybody."""

    def knows(self, fact: TownFact) -> bool:
        """Always."""
        return True


def world_gold(task: PlantedTask) -> WorldGold:
    """Gold of the task."""
    return WorldGold(facts_by_id(task))


def world_experts(task: PlantedTask, panel: Panel, seed: int) -> list[Rater]:
    """The expert panel."""
    facts = facts_by_id(task)
    return [
        KnowsAll(
            id=hash_rater(f"simulated planted expert {panel} {seed} {number}"),
            tier="expert",
            seed=seed,
            ability=0.0,
            knowledge=weak_knowledge(task, facts, task.competence),
            habits=habits_in(task),
            facts=facts,
        )
        for number in range(panel_size(task, panel))
    ]
