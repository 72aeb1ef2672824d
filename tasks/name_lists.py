"""Three lists of names that answers can name: countries, cities and currencies, with their spellings.

The familiarity of a name is the number of people who live there, and for a currency the number of countries that use
one of that name.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sandwiching.tasks.names import Gazetteer, fold, plain

TOP_CITIES = 5
SMALLEST_CITY = 100_000

_LATIN = re.compile(r"[A-Z][a-z]+(?:[ '-][A-Za-z]+)*")


@dataclass(frozen=True, slots=True)
class Source:
    """Records of countries by ISO code, cities by country, and the corrections, as the files have them."""

    countries: dict[str, dict[str, Any]]
    cities: dict[str, list[dict[str, Any]]]
    fixes: dict[str, Any]

    def spellings(self, iso: str) -> list[str]:
        """Names of a country, the one to print first."""
        return self.fixes["names"].get(iso, [self.countries[iso]["name"]])

    def with_article(self, iso: str) -> str:
        """Its name as it stands in a sentence."""
        return ("the " if iso in self.fixes["the"] else "") + self.spellings(iso)[0]

    def units(self, iso: str) -> list[str]:
        """Names of the unit of a country's currency, the one to print first."""
        code = self.countries[iso]["currencycode"]
        return self.fixes["units"].get(code, ["Euro" if code == "EUR" else self.countries[iso]["currencyname"]])

    def continent(self, iso: str) -> str:
        """Code of its continent."""
        return self.countries[iso]["continentcode"]


@dataclass(frozen=True, slots=True)
class Name:
    """A possible answer, alone and as it stands in a sentence (the Netherlands, the cedi).

    `countries` are those it lies in (a city), is (a country) or is used in (a currency).
    """

    key: str
    text: str
    phrase: str
    familiarity: float
    countries: frozenset[str]
    continents: frozenset[str]


@dataclass(frozen=True, slots=True)
class Names:
    """One list of names and how they are spelt."""

    by_key: dict[str, Name] = field(default_factory=dict)
    spellings: Gazetteer = field(default_factory=Gazetteer)

    def add(self, name: Name, spellings: Iterable[str]) -> None:
        """Add a name."""
        self.by_key[name.key] = name
        self.spellings.add(name.key, spellings)


def country_names(source: Source) -> Names:
    """All countries and territories; keys country:<ISO code>."""
    names = Names()
    names.spellings.add("", source.fixes["not_places"])
    for iso, row in source.countries.items():
        spellings = source.spellings(iso)
        places = frozenset({iso}), frozenset({source.continent(iso)})
        name = Name(f"country:{iso}", spellings[0], source.with_article(iso), row["population"], *places)
        names.add(name, spellings)
    return names


def city_names(source: Source, countries: Names) -> tuple[Names, dict[str, str], dict[str, tuple[str, ...]]]:
    """Capitals and large cities; the key of each country's capital; keys of its other large cities, largest first.

    Other spellings of a capital that are the main name of another place (Delhi for Dili) are left out.
    """
    names = Names()
    for iso in source.countries:
        # El Salvador must not mention Salvador, a city of Brazil.
        names.spellings.add("", source.spellings(iso))
    taken = {fold(city["name"]) for group in source.cities.values() for city in group}
    taken |= {" ".join(tokens) for tokens in countries.spellings.keys}
    capitals, largest = {}, {}
    for iso, row in source.countries.items():
        spellings = source.fixes["capitals"].get(iso, [row["capital"].strip()])
        capital = _capital(source.cities[iso], spellings)
        if capital is None:
            continue
        more = [other for other in capital["alternatenames"] if _LATIN.fullmatch(other) and len(other) > 3]
        spellings = [*spellings, plain(capital["name"]), *(other for other in more if fold(other) not in taken)]
        capitals[iso] = _add_city(names, source, capital, spellings)
        top = sorted(source.cities[iso], key=lambda city: -city["population"])[:TOP_CITIES]
        largest[iso] = tuple(
            _add_city(names, source, city, [plain(city["name"])])
            for city in top
            if city is not capital and city["population"] >= SMALLEST_CITY
        )
    return names, capitals, largest


def _capital(cities: list[dict[str, Any]], spellings: list[str]) -> dict[str, Any] | None:
    """The largest city with the capital's name, or else with it among its other spellings."""
    wanted = {fold(spelling) for spelling in spellings}
    found = [city for city in cities if fold(city["name"]) == fold(spellings[0])]
    found = found or [city for city in cities if wanted & {fold(city["name"]), *map(fold, city["alternatenames"])}]
    return max(found, key=lambda city: city["population"], default=None)


def _add_city(names: Names, source: Source, city: dict[str, Any], spellings: list[str]) -> str:
    iso, text = city["countrycode"], plain(spellings[0])
    people = source.fixes["city_population"].get(text, city["population"])
    places = frozenset({iso}), frozenset({source.continent(iso)})
    name = Name(f"city:{city['geonameid']}", text, text, people, *places)
    names.add(name, spellings)
    return name.key


def right_currencies(source: Source, iso: str) -> frozenset[str]:
    """Keys of the right answers to what a country's currency is: the unit, its full name, and what else is tender."""
    unit, code = source.units(iso)[0], source.countries[iso]["currencycode"]
    more = [f"currency:{key}" for key in source.fixes["also_right"].get(iso, [])]
    return frozenset({f"currency:{unit}", f"currency:{unit}:{code}", *more})


def currency_names(source: Source) -> Names:
    """Units (dollar; key currency:Dollar) and the unit of one code (Namibian dollar; key currency:Dollar:NAD).

    Territories count as users, yet not for where a currency looks plausible (the euro is used in the Caribbean).
    """
    names = Names()
    territories = source.fixes["not_asked"]["territories"]
    users = defaultdict(list)
    for iso, row in source.countries.items():
        if row["currencycode"]:
            users[source.units(iso)[0]].append(iso)
    for unit, isos in users.items():
        continents = frozenset(source.continent(iso) for iso in isos if iso not in territories)
        for iso in isos:
            code = source.countries[iso]["currencycode"]
            spellings = [form for one in source.units(iso) for form in (one, one + "s")]
            adjectives = [word.replace("-", " ") for word in source.fixes["demonyms"].get(iso, "").split()]
            # "France euro" is nobody's spelling, "New Zealand dollar" is.
            adjectives += [] if code == "EUR" else source.spellings(iso)
            longer = [f"{adjective} {form}" for adjective in adjectives for form in spellings]
            longer += [code, *source.fixes["compound_currencies"].get(f"{unit}:{code}", [])]
            own = frozenset(other for other in isos if source.countries[other]["currencycode"] == code)
            everybody = frozenset(isos)
            phrase = f"the {unit.lower()}"
            names.add(Name(f"currency:{unit}", unit, phrase, len(isos), everybody, continents), spellings)
            names.add(Name(f"currency:{unit}:{code}", code, phrase, len(isos), own, continents), longer)
    return names
