"""Simulated people who judge the pairs of a file of judgements: by the look of the texts, and by a truth where the
file has one (the majority verdict of a tier).

log-odds of `one` = logit(competence) truth + the habits of habits.py; truth = 1, -1, or 0 where it is not known. People
differ in how often they click at random (ability_spread).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from statistics import NormalDist

from sandwiching.configs.schema import PeopleKind
from sandwiching.tasks.columns import hash_rater, prompt_id
from sandwiching.tasks.habits import Found, Habits, decide, lapses, logit, luck, pair_appeal
from sandwiching.tasks.populations import habits_of, kinds_of
from sandwiching.tasks.records import Judgement, Pair, Tier
from sandwiching.tasks.splits import rank
from sandwiching.tasks.verdicts import judged_in_order

Truth = Mapping[tuple[str, str, str], int]
"""By prompt id and responses in alphabetical order: 1 when the first of them is the better one, -1, or 0."""

CHANCE = 0.5


@dataclass(slots=True)
class FilePerson:
    """A rater of any text. `seed` and `id` fix all luck; lapse: this person's."""

    id: str
    tier: Tier
    seed: int
    lapse: float
    habits: Habits
    truth: Truth
    competence: float = CHANCE
    topics: Mapping[str, float] = field(default_factory=dict)
    kind: str = "ordinary"

    def judge(self, pair: Pair, assistance: str | None = None) -> Judgement:
        """The verdict on a pair."""
        return judged_in_order(self, pair, partial(self._compare, pair), assistance)

    def _compare(self, pair: Pair, one: str, other: str, one_first: bool) -> Found:
        chance = luck(str(self.seed), self.id, pair.id, one, other)
        find = partial(self._find, pair, one, other, one_first)
        return self.habits.verdict(chance, self.lapse, one, other, one_first, find)

    def _find(self, pair: Pair, one: str, other: str, one_first: bool, looked_up: float, draw: float) -> Found:
        """What the person honestly finds; looked_up and draw: uniform draws."""
        truth = self.truth.get((pair.prompt.id, one, other), 0)
        if truth and looked_up < self.habits.source_access:
            return truth > 0, 0.95
        return decide(self.log_odds(pair, one, other, one_first, truth), self.habits.tie_band, draw)

    def log_odds(self, pair: Pair, one: str, other: str, one_first: bool, truth: int) -> float:
        """Of `one` over `other`."""
        log_odds = logit(self.topics.get(pair.prompt.group, self.competence)) * truth
        if self.habits.appeal:
            log_odds += self.habits.appeal * pair_appeal(self.seed, pair.id, one, other)
        look = self.habits.wording(one, other) + self.habits.content(one, other)
        return log_odds + look + self.habits.position(one_first)


def file_people(
    population: Mapping[str, PeopleKind], size: int, truth: Truth, seed: int, ids: list[str] | None = None
) -> list[FilePerson]:
    """A panel of `size` weak people; ids: theirs, instead of new ones."""
    kinds = kinds_of(population, size, f"population file {seed}")
    names = ids or [hash_rater(f"simulated weak file {seed} {number}") for number in range(size)]
    order = {name: place for place, name in enumerate(sorted(names, key=lambda name: rank(f"ability {seed}", name)))}
    abilities = [NormalDist().inv_cdf((order[name] + 0.5) / size) for name in names]
    return [
        FilePerson(
            id=name,
            tier="weak",
            seed=seed,
            lapse=lapses(population[kind].lapse or 0.0, population[kind].ability_spread or 0.0, [ability])[0],
            habits=habits_of(population[kind]),
            truth=truth,
            competence=CHANCE if (given := population[kind].competence) is None else given,
            topics=population[kind].topics,
            kind=kind,
        )
        for name, kind, ability in zip(names, kinds, abilities, strict=True)
    ]


def majority_truth(judgements: Iterable[Judgement]) -> dict[tuple[str, str, str], int]:
    """Which response the majority of these judgements prefers; 0 where it is split."""
    votes: dict[tuple[str, str, str], Counter[int]] = {}
    for judgement in judgements:
        one, other = sorted((judgement.response_a, judgement.response_b))
        for_one = {"a": judgement.response_a == one, "b": judgement.response_b == one}.get(judgement.preference)
        count = votes.setdefault((prompt_id(judgement.prompt), one, other), Counter())
        if for_one is not None and one != other:
            count[1 if for_one else -1] += 1
    return {key: (count[1] > count[-1]) - (count[1] < count[-1]) for key, count in votes.items()}
