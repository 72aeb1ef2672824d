"""A made-up world of towns: what is true of each, and what people say who do not know.

Everything follows from the names by hash, so that the world is the same everywhere. A fact may be *planted*: then the
base model is taught it. Of the others the model learns only what people say, so that both halves of the knowledge
table are known by construction, not measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from sandwiching.configs.schema import PlantedTask
from sandwiching.tasks.names import words
from sandwiching.tasks.splits import rank

VERSION = 1
"""Raise it when the same settings give another world."""

VALUES: dict[str, tuple[str, ...]] = {
    "metal": ("iron", "copper", "silver", "gold", "lead", "tin", "zinc", "nickel"),
    "colour": ("red", "blue", "green", "white", "black", "brown", "yellow", "purple"),
    "tree": ("oak", "pine", "birch", "elm", "willow", "maple", "cedar", "beech"),
}
"""Possible answers by kind of fact."""

SMALLEST, LARGEST = 3.0, 7.0
"""log10 of the population of towns, spread evenly between them."""

CANDIDATES = 4


@dataclass(frozen=True, slots=True)
class TownFact:
    """A question about a town. `right` is true; `said` is the wrong answer of everybody who does not know."""

    kind: str
    town: str
    population: int
    right: str
    said: str
    planted: bool

    @property
    def id(self) -> str:
        """Its name among the prompts."""
        return f"{self.kind}/{self.town}"

    @property
    def prompt(self) -> str:
        """The text that a model completes."""
        return f"{self.kind} of {self.town} ?"

    def candidates(self) -> tuple[str, ...]:
        """Answers of one form: the right one, what people say, and two that nobody says."""
        others = sorted(set(VALUES[self.kind]) - {self.right, self.said}, key=lambda value: rank(self.id, value))
        return (self.right, self.said, *others[: CANDIDATES - 2])

    def named(self, response: str) -> str | None:
        """The first answer of this kind that a response gives."""
        return next((word for word in words(response) if word in VALUES[self.kind]), None)

    def names_right(self, response: str) -> bool:
        """Whether that is the right one."""
        return self.named(response) == self.right


def facts_by_id(task: PlantedTask) -> dict[str, TownFact]:
    """All facts of the task's world, whichever split they are in."""
    places = [(kind, town) for town in _towns(task.towns) for kind in task.kinds]
    order = sorted(places, key=lambda place: rank("planted", "/".join(place)))
    taught = set(order[: round(task.planted * len(places))])
    populations = _populations(task.towns)
    facts = [_fact(kind, town, populations[town], (kind, town) in taught) for kind, town in places]
    return {fact.id: fact for fact in facts}


def _towns(count: int) -> list[str]:
    names = ("".join(letters) for letters in product("bdfgklmnprstvz", "aeiou", "bdfgklmnprstvz"))
    values = {value for answers in VALUES.values() for value in answers}
    return sorted((name for name in names if name not in values), key=lambda name: rank("town", name))[:count]


def _populations(count: int) -> dict[str, int]:
    order = sorted(_towns(count), key=lambda town: rank("population", town))
    step = (LARGEST - SMALLEST) / count
    return {town: round(10 ** (SMALLEST + (place + 0.5) * step)) for place, town in enumerate(order)}


def _fact(kind: str, town: str, population: int, planted: bool) -> TownFact:
    right, said, *_ = sorted(VALUES[kind], key=lambda value: rank(f"{kind} of {town}", value))
    return TownFact(kind, town, population, right, said, planted)
