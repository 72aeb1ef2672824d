"""Facts of GeoNames as questions: kinds of fact, right answers, and wrong ones that look familiar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sandwiching.tasks.geonames import Country, Name, world
from sandwiching.tasks.names import fold


@dataclass(frozen=True, slots=True)
class Fact:
    """A question about one country. `answers` names the list that answers come from; `right` are keys of that list.

    `best` is the answer to give, `template` a whole sentence with {} for the answer; `subject` is the country named in
    the question itself, which answers may repeat ("" where the question names none).
    """

    id: str
    kind: str
    country: str
    question: str
    template: str
    answers: str
    right: frozenset[str]
    best: Name
    subject: str = ""

    @property
    def prompt(self) -> str:
        """The text that a model completes."""
        return f"Question: {self.question}\nAnswer:"

    def sentence(self, name: Name) -> str:
        """The answer as a whole sentence."""
        sentence = self.template.format(name.phrase)
        return sentence[0].upper() + sentence[1:]


def _best(answers: str, key: str) -> Name:
    return world().names[answers].by_key[key]


def _capital(country: Country) -> Fact | None:
    best = _best("city", country.capital)
    if not country.asked_capital or _gives_away(best.text, country.name):
        return None
    return Fact(
        id=f"capital/{country.iso}",
        kind="capital",
        country=country.iso,
        question=f"What is the capital of {country.with_article}?",
        template=f"The capital of {country.with_article} is {{}}.",
        answers="city",
        right=frozenset({best.key}),
        best=best,
        subject=f"country:{country.iso}",
    )


def _country_of_capital(country: Country) -> Fact | None:
    capital = _best("city", country.capital).text
    if not country.asked_capital or _gives_away(capital, country.name) or _shared(capital):
        return None
    return Fact(
        id=f"country_of_capital/{country.iso}",
        kind="country_of_capital",
        country=country.iso,
        question=f"{capital} is the capital of which country?",
        template=f"{capital} is the capital of {{}}.",
        answers="country",
        right=frozenset({f"country:{country.iso}"}),
        best=_best("country", f"country:{country.iso}"),
    )


def _currency(country: Country) -> Fact | None:
    if not country.asked_currency:
        return None
    return Fact(
        id=f"currency/{country.iso}",
        kind="currency",
        country=country.iso,
        question=f"What is the currency of {country.with_article}?",
        template=f"The currency of {country.with_article} is {{}}.",
        answers="currency",
        right=country.right_currencies,
        best=_best("currency", country.currency),
        subject=f"country:{country.iso}",
    )


def _neighbour(country: Country) -> Fact | None:
    right = [_best("country", f"country:{iso}") for iso in sorted(country.neighbours)]
    if not right:
        return None
    return Fact(
        id=f"neighbour/{country.iso}",
        kind="neighbour",
        country=country.iso,
        question=f"Which country shares a border with {country.with_article}?",
        template=f"{country.with_article} shares a border with {{}}.",
        answers="country",
        right=frozenset(name.key for name in right),
        best=max(right, key=lambda name: name.familiarity),
        subject=f"country:{country.iso}",
    )


def _gives_away(name: str, country: str) -> bool:
    """Whether the question would hold its own answer (Guatemala City)."""
    a, b = fold(name).split(), fold(country).split()
    return set(a) <= set(b) or set(b) <= set(a)


def _shared(city: str) -> bool:
    return any(len(keys) > 1 for keys in world().names["city"].spellings.mentions(city))


KINDS: dict[str, Callable[[Country], Fact | None]] = {
    "capital": _capital,
    "country_of_capital": _country_of_capital,
    "currency": _currency,
    "neighbour": _neighbour,
}


def facts(kinds: Sequence[str], min_population: int) -> list[Fact]:
    """All facts of these kinds about countries of at least `min_population` people, by country and kind.

    Raises ValueError for a kind that is not known.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"task.kinds: {kind!r} is unknown; use some of {', '.join(KINDS)}")
    countries = [one for one in world().countries.values() if one.asked and one.population >= min_population]
    found = [KINDS[kind](country) for country in sorted(countries, key=lambda one: one.iso) for kind in kinds]
    return [fact for fact in found if fact is not None]
