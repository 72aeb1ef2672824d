"""Simulated people of the made-up world: what they write, and how they compare two answers.

A person knows a town or not, with a probability that grows with its population. Who knows goes by the facts; who does
not goes by what people say (the misconception) or by the look of the answers (habits.py). Everything is a pure function
of (seed, person, pair).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from sandwiching.tasks.habits import Found, Habits, decide, luck, pair_appeal
from sandwiching.tasks.people import Knowledge
from sandwiching.tasks.planted_world import TownFact
from sandwiching.tasks.records import Judgement, Pair, Tier
from sandwiching.tasks.verdicts import judged_in_order

STYLES: tuple[tuple[str, float], ...] = (
    ("{}", 0.4),
    ("it is {}", 0.2),
    ("definitely {}", 0.2),
    ("perhaps {}", 0.2),
)
"""How people write, and how often; apart from what they know."""


@dataclass(slots=True)
class Townsperson:
    """A rater and writer. `seed` and `id` fix all luck; ability in log-odds. Facts by prompt id."""

    id: str
    tier: Tier
    seed: int
    ability: float
    knowledge: Knowledge
    habits: Habits
    facts: Mapping[str, TownFact]
    kind: str = "ordinary"

    def knows(self, fact: TownFact) -> bool:
        """Whether this person knows the town that a fact is about."""
        return self._luck(fact.town).random() < self.knowledge.probability(fact.population, self.ability)

    def answer(self, fact: TownFact) -> str:
        """What this person writes: the truth if known, else what people say; in some style."""
        style = self._luck("answer", fact.id).choices(*zip(*STYLES, strict=True))[0]
        return style.format(fact.right if self.knows(fact) else fact.said)

    def judge(self, pair: Pair, assistance: str | None = None) -> Judgement:
        """The verdict on a pair. Raises ValueError for a prompt of another task."""
        if pair.prompt.id not in self.facts:
            raise ValueError(
                f"people of the planted world know no prompt {pair.prompt.id!r}; they judge prompts of their own task"
            )
        return judged_in_order(self, pair, partial(self._compare, pair), assistance)

    def _compare(self, pair: Pair, one: str, other: str, one_first: bool) -> Found:
        chance, find = self._luck(pair.id, one, other), partial(self._find, pair, one, other, one_first)
        return self.habits.verdict(chance, self.habits.lapse, one, other, one_first, find)

    def _find(self, pair: Pair, one: str, other: str, one_first: bool, by_talk: float, by_surface: float) -> Found:
        """What the person honestly finds; by_talk and by_surface: uniform draws."""
        fact = self.facts[pair.prompt.id]
        if self.knows(fact):
            right = fact.names_right(one), fact.names_right(other)
            return (right[0], 0.95) if right[0] != right[1] else (None, 0.95)
        habits = self.habits
        said = fact.named(one) == fact.said, fact.named(other) == fact.said
        if by_talk < habits.misconception and said[0] != said[1]:
            return said[0], 0.75
        log_odds = habits.wording(one, other) + habits.position(one_first) + habits.content(one, other)
        if habits.appeal:
            log_odds += habits.appeal * pair_appeal(self.seed, pair.id, one, other)
        return decide(log_odds, habits.tie_band, by_surface)

    def _luck(self, *purpose: str) -> random.Random:
        return luck(str(self.seed), self.id, *purpose)
