"""Simulated people: what they know of a country, how they compare two answers, and what they would answer themselves.

A person knows a country or not, with a probability that grows with its population. Who knows goes by the facts. Who
does not goes by familiarity (the more famous name must be right: the misconception) or by the surface of the answers
(longer, more confident). Everything is a pure function of (seed, person, pair): order of work and sides do not matter.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist, fmean

from sandwiching.tasks.answers import FAMILIAR, candidates, familiarity, misleading, names_right
from sandwiching.tasks.facts import Fact
from sandwiching.tasks.geonames import Name, world
from sandwiching.tasks.names import words
from sandwiching.tasks.records import Judgement, Pair, Preference, Tier

CONFIDENT = frozenset({"absolutely", "certainly", "clearly", "definitely", "obviously", "surely", "undoubtedly"})
HEDGED = frozenset({"believe", "guess", "maybe", "might", "perhaps", "possibly", "probably", "think", "unsure"})

STYLES: tuple[tuple[str, float], ...] = (
    ("{text}", 0.35),
    ("{sentence}", 0.35),
    ("It is definitely {phrase}.", 0.15),
    ("I think it is {phrase}.", 0.15),
)
"""How people write, and how often; apart from what they know."""

LONGEST_ANSWER = 12
"""In estimated tokens; longer sentences are left for a bare name, so that 15 tokens of SmolLM2 hold every answer."""

QUANTILES = tuple(NormalDist().inv_cdf((index + 0.5) / 21) for index in range(21))


def sigmoid(log_odds: float) -> float:
    """Probability of these log-odds, however large."""
    return (1 + math.tanh(log_odds / 2)) / 2


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


@dataclass(frozen=True, slots=True)
class Habits:
    """How people who do not know judge; fields as in CapitalsTask. lapse: anybody's share of random clicks."""

    misconception: float
    length_bias: float
    confidence_bias: float
    lapse: float


@dataclass(slots=True)
class Person:
    """A rater. `seed` and `id` fix all luck; ability in log-odds. Facts by prompt id."""

    id: str
    tier: Tier
    seed: int
    ability: float
    knowledge: Knowledge
    habits: Habits
    facts: Mapping[str, Fact]

    def knows(self, fact: Fact) -> bool:
        """Whether this person knows the country that a fact is about."""
        population = world().countries[fact.country].population
        return self._luck(fact.country).random() < self.knowledge.probability(population, self.ability)

    def judge(self, pair: Pair, assistance: str | None = None) -> Judgement:
        """The verdict on a pair. Raises ValueError for a prompt of another task."""
        if pair.prompt.id not in self.facts:
            raise ValueError(
                f"simulated people know no prompt {pair.prompt.id!r}; they judge prompts of their own task"
            )
        # Swapped sides give the swapped verdict: the person meets the two texts in alphabetical order.
        swapped = pair.response_b < pair.response_a
        one, other = sorted((pair.response_a, pair.response_b))
        first, confidence = self._compare(self.facts[pair.prompt.id], one, other, self._luck(pair.id, one, other))
        preference: Preference = "tie" if first is None else "a" if first != swapped else "b"
        return Judgement(
            prompt=pair.prompt.text,
            response_a=pair.response_a,
            response_b=pair.response_b,
            preference=preference,
            rater=self.id,
            tier=self.tier,
            confidence=round(confidence, 3),
            group=pair.prompt.group,
            pair=pair.id,
            assistance=assistance,
        )

    def _compare(self, fact: Fact, one: str, other: str, luck: random.Random) -> tuple[bool | None, float]:
        """Whether `one` is better than `other` (None: a tie), and how sure the person is, 1/2..1."""
        lapse, side, by_fame, by_surface = (luck.random() for _ in range(4))
        if one == other:
            return None, 1.0
        if lapse < self.habits.lapse:
            return side < 0.5, 0.5
        if self.knows(fact):
            right = names_right(fact, one), names_right(fact, other)
            return (right[0], 0.95) if right[0] != right[1] else (None, 0.95)
        fame = familiarity(fact, one), familiarity(fact, other)
        if by_fame < self.habits.misconception and max(fame) >= FAMILIAR * min(fame) and max(fame) > 0:
            return fame[0] > fame[1], 0.75
        probability = sigmoid(self.surface(one, other))
        if probability == 0.5:
            return None, 0.5
        return by_surface < probability, max(probability, 1 - probability)

    def surface(self, one: str, other: str) -> float:
        """Log-odds that `one` looks better than `other` by its wording alone."""
        longer = len(words(one)) - len(words(other))
        return self.habits.length_bias * longer + self.habits.confidence_bias * (boldness(one) - boldness(other))

    def answer(self, fact: Fact) -> str:
        """What this person writes: the right name if known, else the familiar one or a guess; in some style."""
        luck = self._luck("answer", fact.id)
        by_fame, style = luck.random(), luck.choices(*zip(*STYLES, strict=True))[0]
        if self.knows(fact):
            name = luck.choice(right_names(fact))
        elif by_fame < self.habits.misconception:
            name = misleading(fact) or fact.best
        else:
            name = luck.choice(candidates(fact))
        written = style.format(text=name.text, phrase=name.phrase, sentence=fact.sentence(name))
        return written if estimated_tokens(written) <= LONGEST_ANSWER else name.text

    def _luck(self, *purpose: str) -> random.Random:
        material = "\0".join((str(self.seed), self.id, *purpose))
        return random.Random(hashlib.sha256(material.encode()).digest())


def estimated_tokens(text: str) -> int:
    """A lower-case word counts once, a name once for every three letters begun, and the full stop once."""
    return 1 + sum(1 if word.islower() else math.ceil(len(word) / 3) for word in words(text))


def boldness(text: str) -> int:
    """1 for confident wording, -1 for hedges, 0 for neither or both."""
    found = {word.casefold() for word in words(text)}
    return bool(found & CONFIDENT) - bool(found & HEDGED)


def right_names(fact: Fact) -> list[Name]:
    """Right answers to write: all neighbours, else the one answer (not a currency under its longer names)."""
    names = world().names[fact.answers].by_key
    return [names[key] for key in sorted(fact.right)] if fact.kind == "neighbour" else [fact.best]
