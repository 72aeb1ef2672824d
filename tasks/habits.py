"""How people judge by the look of two answers: the habits of one kind of people, and one logit made of them.

log-odds that `one` looks better than `other` =
    length_bias (words more) + doubling_bias log2(words ratio) + confidence_bias (bolder) + position_bias (shown first)
    + sycophancy (agrees with the rater) + myth_bias (states a myth) + what the pair has for everybody (appeal)
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist, fmean

from sandwiching.tasks.names import fold, words

CONFIDENT = frozenset({"absolutely", "certainly", "clearly", "definitely", "obviously", "surely", "undoubtedly"})
HEDGED = frozenset({"believe", "guess", "maybe", "might", "perhaps", "possibly", "probably", "think", "unsure"})
RULE_CONFIDENCE = 0.75
"""How sure somebody says to be who goes by one rule."""


Found = tuple[bool | None, float]
"""Whether the first of two answers is better (None: a tie), and how sure that is, 1/2..1."""
Find = Callable[[float, float], Found]
"""What a person honestly finds, of two uniform draws: whether a belief decides, and what surface does."""

QUANTILES = tuple(NormalDist().inv_cdf((index + 0.5) / 21) for index in range(21))
"""People of all abilities, in numbers."""


@dataclass(frozen=True, slots=True)
class Habits:
    """One kind of people; fields as in configs.people_block.PeopleKind. lapse: anybody's share of random clicks."""

    misconception: float = 0.0
    length_bias: float = 0.0
    confidence_bias: float = 0.0
    lapse: float = 0.0
    rule: str = "logit"
    doubling_bias: float = 0.0
    position_bias: float = 0.0
    sycophancy: float = 0.0
    beliefs: tuple[str, ...] = ()
    myths: tuple[str, ...] = ()
    myth_bias: float = 0.0
    source_access: float = 0.0
    appeal: float = 0.0
    tie_band: float = 0.0

    def wording(self, one: str, other: str) -> float:
        """Log-odds that `one` looks better than `other` by its length and confidence alone."""
        longer = word_count(one) - word_count(other)
        log_odds = self.length_bias * longer + self.confidence_bias * (boldness(one) - boldness(other))
        return log_odds + self.doubling_bias * doublings(one, other) if self.doubling_bias else log_odds

    def content(self, one: str, other: str) -> float:
        """Log-odds that `one` gains by the myths and beliefs it states."""
        log_odds = 0.0
        if self.myths:
            log_odds += self.myth_bias * (states_any(one, self.myths) - states_any(other, self.myths))
        if self.beliefs:
            log_odds += self.sycophancy * (states_any(one, self.beliefs) - states_any(other, self.beliefs))
        return log_odds

    def position(self, one_first: bool) -> float:
        """Log-odds that `one` gains by the side it is shown on."""
        return self.position_bias if one_first else -self.position_bias

    def verdict(self, chance: random.Random, lapse: float, one: str, other: str, one_first: bool, find: Find) -> Found:
        """By a lapse of this probability, by the rule, else what the person honestly finds, which contrary people turn
        round."""
        lapsed, side, by_belief, by_surface = (chance.random() for _ in range(4))
        if one == other:
            return None, 1.0
        ruled = self.by_rule(one, other, one_first, coin=side < 0.5)
        if ruled is not None:
            return ruled
        if lapsed < lapse:
            return side < 0.5, 0.5
        first, confidence = find(by_belief, by_surface)
        return (not first if self.rule == "contrary" and first is not None else first), confidence

    def by_rule(self, one: str, other: str, one_first: bool, coin: bool) -> Found | None:
        """What `rule` alone decides (as `decide`), or None where the logit does."""
        if self.rule == "longer":
            lengths = (word_count(one), len(one)), (word_count(other), len(other))
            return (None if lengths[0] == lengths[1] else lengths[0] > lengths[1]), RULE_CONFIDENCE
        if self.rule == "first":
            return one_first, RULE_CONFIDENCE
        return (coin, 0.5) if self.rule == "random" else None


def decide(log_odds: float, band: float, draw: float) -> tuple[bool | None, float]:
    """Whether `one` is taken (None: a tie), and how sure the person is, 1/2..1; draw: uniform in 0..1.

    P(one) = sigmoid(log_odds - band), P(other) = sigmoid(-log_odds - band), the rest ties (Rao and Kupper, 1967).
    """
    if log_odds == 0 and band == 0:
        return None, 0.5
    probability = sigmoid(log_odds)
    sure = max(probability, 1 - probability)
    if draw < sigmoid(log_odds - band):
        return True, sure
    return (None, 0.5) if draw < sigmoid(log_odds + band) else (False, sure)


def sigmoid(log_odds: float) -> float:
    """Probability of these log-odds, however large."""
    return (1 + math.tanh(log_odds / 2)) / 2


def logit(probability: float) -> float:
    """Log-odds of a probability inside 0..1."""
    return math.log(probability / (1 - probability))


def lapses(mean: float, spread: float, abilities: Sequence[float]) -> list[float]:
    """Probability that people of these abilities, N(0, 1), click at random: sigmoid(offset - spread ability).

    The offset is such that the mean over all people is `mean`.
    """
    if not 0 < mean < 1 or not spread:
        return [mean] * len(abilities)
    low, high = logit(mean) - 10 - 10 * spread, logit(mean) + 10 + 10 * spread
    for _ in range(50):
        middle = (low + high) / 2
        found = fmean(sigmoid(middle + spread * quantile) for quantile in QUANTILES)
        low, high = (middle, high) if found < mean else (low, middle)
    return [sigmoid(low - spread * ability) for ability in abilities]


@lru_cache(maxsize=100_000)
def word_count(text: str) -> int:
    """Number of words."""
    return len(words(text))


def doublings(one: str, other: str) -> float:
    """How many times `one` is twice as long as `other`, in words; one word is added to both."""
    return math.log2((word_count(one) + 1) / (word_count(other) + 1))


@lru_cache(maxsize=100_000)
def boldness(text: str) -> int:
    """1 for confident wording, -1 for hedges, 0 for neither or both."""
    found = {word.casefold() for word in words(text)}
    return bool(found & CONFIDENT) - bool(found & HEDGED)


def states_any(text: str, phrases: tuple[str, ...]) -> bool:
    """Whether a text holds one of the phrases, word for word, whatever the accents and capitals."""
    folded = _padded(text)
    return any(_padded(phrase) in folded for phrase in phrases)


@lru_cache(maxsize=100_000)
def _padded(text: str) -> str:
    return f" {fold(text)} "


def pair_appeal(seed: int, pair: str, one: str, other: str) -> float:
    """What speaks for `one` in everybody's eyes, N(0, 1); the texts in alphabetical order."""
    draw = luck(str(seed), "appeal", pair, one, other).random()
    return NormalDist().inv_cdf(min(max(draw, 1e-12), 1 - 1e-12))


def luck(*purpose: str) -> random.Random:
    """All chance of one purpose: the same purpose, the same draws, in whatever order things are asked."""
    return random.Random(hashlib.sha256("\0".join(purpose).encode()).digest())
