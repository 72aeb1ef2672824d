"""What a response answers to a question: is it right, how familiar does it look, which wrong one would look right."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from sandwiching.tasks.facts import Fact
from sandwiching.tasks.geonames import Name, world

FAMILIAR = 1.5
"""How many times more familiar a name must be before people notice."""

WRONG_CANDIDATES = 3
LEAST_PEOPLE = 100_000
"""Wrong answers come from countries at least this large."""


def named(fact: Fact, response: str) -> list[Name]:
    """The first name in the response that could be an answer; several where one spelling means several."""
    by_key = world().names[fact.answers].by_key
    for keys in _mentions(fact.answers, response):
        if fact.subject not in keys or keys & fact.right:
            return [by_key[key] for key in sorted(keys)]
    return []


@lru_cache(maxsize=100_000)
def _mentions(answers: str, response: str) -> list[frozenset[str]]:
    return world().names[answers].spellings.mentions(response)


def names_right(fact: Fact, response: str) -> bool:
    """Whether the first possible answer in the response is a right one."""
    return any(name.key in fact.right for name in named(fact, response))


def plausible(fact: Fact, name: Name) -> bool:
    """Whether somebody who does not know the answer would believe it: it lies on the right continent."""
    near = frozenset({world().countries[fact.country].continent})
    if fact.answers == "country":
        near |= fact.best.continents
    return bool(name.continents & near)


def familiarity(fact: Fact, response: str) -> float:
    """How familiar the answer in a response looks; 0 without an answer that could be believed."""
    return max((name.familiarity for name in named(fact, response) if plausible(fact, name)), default=0.0)


@lru_cache(maxsize=10_000)
def misleading(fact: Fact) -> Name | None:
    """The wrong name that looks more familiar than every right one: within the country, else next door, else afar."""
    found = {name.key: name for name in _pool(fact) + _city_pool(fact) if not _is_right(fact, name)}
    names = world().names[fact.answers].by_key
    bar = FAMILIAR * max(names[key].familiarity for key in fact.right if plausible(fact, names[key]))
    wrong = [name for name in found.values() if name.familiarity >= bar and plausible(fact, name)]
    country = world().countries[fact.country]
    near = {other for iso in country.neighbours if (one := world().countries.get(iso)) for other in one.neighbours}
    for circle in ({country.iso}, country.neighbours, near):
        close = [name for name in wrong if name.countries & circle]
        if close:
            return max(close, key=lambda name: (name.familiarity, name.key))
    return max(wrong, key=lambda name: (name.familiarity, name.key), default=None)


@lru_cache(maxsize=10_000)
def candidates(fact: Fact) -> tuple[Name, ...]:
    """The right answer, then three wrong ones of the same kind: the misleading one where there is one, and others."""
    lure = misleading(fact)
    others = [name for name in _pool(fact) if not _is_right(fact, name) and name != lure]
    # Brazil borders nearly all of its continent: then the last ones come from elsewhere.
    others.sort(key=lambda name: (not plausible(fact, name), hashlib.sha256(f"{fact.id} {name.key}".encode()).digest()))
    wrong = ([lure] if lure else []) + others
    return (fact.best, *wrong[:WRONG_CANDIDATES])


def _is_right(fact: Fact, name: Name) -> bool:
    return names_right(fact, name.text) or name.key == fact.subject


def _pool(fact: Fact) -> list[Name]:
    """Possible answers of the fact's format: capitals, countries or units of currencies."""
    names = world().names[fact.answers].by_key
    large = [one for one in world().countries.values() if one.population >= LEAST_PEOPLE and one.asked]
    if fact.answers == "city":
        return [names[one.capital] for one in large]
    if fact.answers == "country":
        return [names[f"country:{one.iso}"] for one in large]
    return [name for key, name in sorted(names.items()) if key.count(":") == 1]


def _city_pool(fact: Fact) -> list[Name]:
    """Large cities beside the capitals, where cities are asked for."""
    names = world().names[fact.answers].by_key
    large = [one for one in world().countries.values() if one.population >= LEAST_PEOPLE and one.asked]
    return [names[key] for one in large for key in one.cities] if fact.answers == "city" else []
