"""Simulated people: what they know of a country, how they compare two answers, and what they would answer themselves.

A person knows a country or not, with a probability that grows with its population. Who knows goes by the facts. Who
does not goes by familiarity (the more famous name must be right: the misconception) or by the look of the answers
(habits.py). Everything is a pure function of (seed, person, pair): order of work and sides do not matter.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from statistics import fmean

from sandwiching.tasks.answers import FAMILIAR, candidates, familiarity, misleading, named, names_right
from sandwiching.tasks.facts import Fact
from sandwiching.tasks.geonames import Name, world
from sandwiching.tasks.habits import QUANTILES, Found, Habits, decide, luck, pair_appeal, sigmoid
from sandwiching.tasks.names import words
from sandwiching.tasks.records import Judgement, Pair, Tier
from sandwiching.tasks.verdicts import judged_in_order

STYLES: tuple[tuple[str, float], ...] = (
    ("{text}", 0.35),
    ("{sentence}", 0.35),
    ("It is definitely {phrase}.", 0.15),
    ("I think it is {phrase}.", 0.15),
)
"""How people write, and how often; apart from what they know."""

LONGEST_ANSWER = 12
"""In estimated tokens; longer sentences are left for a bare name, so that 15 tokens of SmolLM2 hold every answer."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """P(knows) = sigmoid(offset + slope log10(population) + ability), ability ~ N(0, spread)."""

    offset: float
    slope: float
    spread: float

    def probability(self, population: int, ability: float) -> float:
        """Of one person."""
        return sigmoid(self.offset + self.slope * math.log10(population) + ability)

    def mean(self, population: int) -> float:
        """Over all people: the share that knows a country of this size."""
        return fmean(self.probability(population, self.spread * quantile) for quantile in QUANTILES)


@lru_cache
def fitted_knowledge(populations: tuple[int, ...], competence: float, slope: float, spread: float) -> Knowledge:
    """The Knowledge whose mean over questions (one population each) is `competence`, by bisection.

    Raises ValueError unless 0 < competence < 1.
    """
    if not 0 < competence < 1:
        raise ValueError(f"task.competence: must lie between 0 and 1, is {competence:g}")
    counts = {population: populations.count(population) for population in set(populations)}
    low, high = -20 - 10 * abs(slope), 20 + 10 * abs(slope)
    for _ in range(50):
        middle = (low + high) / 2
        knowledge = Knowledge(middle, slope, spread)
        mean = sum(count * knowledge.mean(population) for population, count in counts.items()) / len(populations)
        low, high = (middle, high) if mean < competence else (low, middle)
    return Knowledge((low + high) / 2, slope, spread)


@dataclass(slots=True)
class Person:
    """A rater. `seed` and `id` fix all luck; ability in log-odds. Facts by prompt id.

    topics: knowledge by kind of fact where it is another one. kind: the name of this kind of people.
    """

    id: str
    tier: Tier
    seed: int
    ability: float
    knowledge: Knowledge
    habits: Habits
    facts: Mapping[str, Fact]
    topics: Mapping[str, Knowledge] = field(default_factory=dict)
    kind: str = "ordinary"

    def knows(self, fact: Fact) -> bool:
        """Whether this person knows the country that a fact is about."""
        population = world().countries[fact.country].population
        knowledge = self.topics.get(fact.kind, self.knowledge)
        return self._luck(fact.country).random() < knowledge.probability(population, self.ability)

    def judge(self, pair: Pair, assistance: str | None = None) -> Judgement:
        """The verdict on a pair. Raises ValueError for a prompt of another task."""
        if pair.prompt.id not in self.facts:
            raise ValueError(
                f"simulated people know no prompt {pair.prompt.id!r}; they judge prompts of their own task"
            )
        return judged_in_order(self, pair, partial(self._compare, pair), assistance)

    def _compare(self, pair: Pair, one: str, other: str, one_first: bool) -> Found:
        chance, find = self._luck(pair.id, one, other), partial(self._find, pair, one, other, one_first)
        return self.habits.verdict(chance, self.habits.lapse, one, other, one_first, find)

    def _find(self, pair: Pair, one: str, other: str, one_first: bool, by_fame: float, by_surface: float) -> Found:
        """What the person honestly finds; by_fame and by_surface: uniform draws."""
        fact = self.facts[pair.prompt.id]
        if self._looks_up(pair) or self.knows(fact):
            right = names_right(fact, one), names_right(fact, other)
            return (right[0], 0.95) if right[0] != right[1] else (None, 0.95)
        fame = familiarity(fact, one), familiarity(fact, other)
        if by_fame < self.habits.misconception and max(fame) >= FAMILIAR * min(fame) and max(fame) > 0:
            return fame[0] > fame[1], 0.75
        log_odds = self.surface(one, other) + self.habits.position(one_first) + self.habits.content(one, other)
        if self.habits.sycophancy:
            log_odds += self.habits.sycophancy * (self._agrees(fact, one) - self._agrees(fact, other))
        if self.habits.appeal:
            log_odds += self.habits.appeal * pair_appeal(self.seed, pair.id, one, other)
        return decide(log_odds, self.habits.tie_band, by_surface)

    def surface(self, one: str, other: str) -> float:
        """Log-odds that `one` looks better than `other` by its wording alone."""
        return self.habits.wording(one, other)

    def _looks_up(self, pair: Pair) -> bool:
        access = self.habits.source_access
        return access > 0 and self._luck("source", pair.id).random() < access

    def _agrees(self, fact: Fact, response: str) -> bool:
        return self.belief(fact).key in {name.key for name in named(fact, response)}

    def belief(self, fact: Fact) -> Name:
        """What a person who does not know takes for the answer: the familiar name, or a guess."""
        chance = self._luck("belief", fact.id)
        if chance.random() < self.habits.misconception:
            return misleading(fact) or fact.best
        return chance.choice(candidates(fact))

    def answer(self, fact: Fact) -> str:
        """What this person writes: the right name if known, else the familiar one or a guess; in some style."""
        chance = self._luck("answer", fact.id)
        by_fame, style = chance.random(), chance.choices(*zip(*STYLES, strict=True))[0]
        if self.knows(fact):
            name = chance.choice(right_names(fact))
        elif by_fame < self.habits.misconception:
            name = misleading(fact) or fact.best
        else:
            name = chance.choice(candidates(fact))
        written = style.format(text=name.text, phrase=name.phrase, sentence=fact.sentence(name))
        return written if estimated_tokens(written) <= LONGEST_ANSWER else name.text

    def _luck(self, *purpose: str) -> random.Random:
        return luck(str(self.seed), self.id, *purpose)


def estimated_tokens(text: str) -> int:
    """A lower-case word counts once, a name once for every three letters begun, and the full stop once."""
    return 1 + sum(1 if word.islower() else math.ceil(len(word) / 3) for word in words(text))


def right_names(fact: Fact) -> list[Name]:
    """Right answers to write: all neighbours, else the one answer (not a currency under its longer names)."""
    names = world().names[fact.answers].by_key
    return [names[key] for key in sorted(fact.right)] if fact.kind == "neighbour" else [fact.best]
