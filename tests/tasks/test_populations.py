"""Panels as mixtures, each kind of people as its habits say, and the default panel as it always was."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from statistics import fmean
from typing import Any

import pytest

from sandwiching.configs.load import ConfigError, load
from sandwiching.configs.schema import CapitalsTask, DataConfig, PeopleKind
from sandwiching.tasks.capitals import Capitals
from sandwiching.tasks.capitals_gold import make_gold
from sandwiching.tasks.people import Person
from sandwiching.tasks.populations import ORDINARY, kinds_of
from sandwiching.tasks.records import Pair

GOLDEN = "38dfa9288e3d2236"
"""Of the verdicts below, by the code before there were populations (GeoNames as pinned in constraints.txt)."""


def panel(size: int = 40, **population: PeopleKind) -> list[Person]:
    task = CapitalsTask(name="capitals", raters=size, population=population)
    return Capitals(task, DataConfig(), seed=0).weak_raters("training")


def of_kind(name: str, people: list[Person]) -> list[Person]:
    return [person for person in people if person.kind == name]


def some_pairs(count: int = 40) -> list[Pair]:
    """A right and a wrong sentence to prompts, and a bolder wrong one."""
    task = CapitalsTask(name="capitals")
    gold = make_gold(task)
    pairs = []
    for prompt in Capitals(task, DataConfig(), seed=0).prompts("train")[:count]:
        right, wrong, *_ = gold.candidates(prompt)
        pairs.append(Pair(f"{prompt.id}/0", prompt, right, wrong))
        pairs.append(Pair(f"{prompt.id}/1", prompt, f"It is surely so: {wrong}", right))
    return pairs


def first_taken(people: list[Person], pairs: list[Pair]) -> float:
    """Share of `a`, ties half."""
    verdicts = [person.judge(pair).preference for person in people for pair in pairs]
    return fmean({"a": 1.0, "tie": 0.5, "b": 0.0}[verdict] for verdict in verdicts)


def test_the_default_panel_judges_as_it_did_before_there_were_populations() -> None:
    people = panel()
    verdicts = [
        (p.id, one.preference, one.confidence) for p in people[::3] for pair in some_pairs() if (one := p.judge(pair))
    ]
    assert hashlib.sha256(json.dumps(verdicts).encode()).hexdigest()[:16] == GOLDEN


def test_shares_are_counted_and_places_do_not_go_by_ability() -> None:
    population = {"longer": PeopleKind(share=0.3, rule="longer"), "spam": PeopleKind(share=0.05, rule="random")}
    kinds = kinds_of(population, 40, "salt")
    assert Counter(kinds) == {"longer": 12, "spam": 2, ORDINARY: 26}
    assert kinds == kinds_of(population, 40, "salt")
    assert kinds != kinds_of(population, 40, "other")
    places = [place for place, kind in enumerate(kinds) if kind == "longer"]
    assert min(places) < 10
    assert max(places) >= 30
    assert Counter(kinds_of({"a": PeopleKind(share=1 / 3), "b": PeopleKind(share=2 / 3)}, 7, "x")) == {"a": 2, "b": 5}
    assert kinds_of({}, 3, "x") == [ORDINARY] * 3


def test_people_who_are_not_of_a_kind_judge_as_without_one() -> None:
    plain, mixed = panel(), panel(longer=PeopleKind(share=0.3, rule="longer"))
    assert [person.id for person in plain] == [person.id for person in mixed]
    for one, other in zip(plain, mixed, strict=True):
        same = [one.judge(pair) == other.judge(pair) for pair in some_pairs(15)]
        assert all(same) == (other.kind == ORDINARY)


def test_rules_hold_always() -> None:
    rules = ("longer", "first", "random", "contrary")
    people = panel(80, **{rule: PeopleKind(share=0.2, rule=rule) for rule in rules}, wise=PeopleKind(share=0.1))
    pairs = some_pairs()
    for pair in pairs:
        longer = "a" if len(pair.response_a.split()) > len(pair.response_b.split()) else "b"
        if len(pair.response_a.split()) != len(pair.response_b.split()):
            assert {person.judge(pair).preference for person in of_kind("longer", people)} == {longer}
    assert first_taken(of_kind("first", people), pairs) == 1.0
    assert first_taken(of_kind("random", people), pairs) == pytest.approx(0.5, abs=0.05)


def test_adversaries_say_the_opposite_of_what_they_find() -> None:
    honest = panel(lapsing=PeopleKind(share=1.0, lapse=0.0))
    contrary = panel(lapsing=PeopleKind(share=1.0, lapse=0.0, rule="contrary"))
    opposite = {"a": "b", "b": "a", "tie": "tie"}
    for one, other in zip(honest[::8], contrary[::8], strict=True):
        for pair in some_pairs(10):
            assert other.judge(pair).preference == opposite[one.judge(pair).preference]


def test_competence_by_topic() -> None:
    people = panel(
        300, split=PeopleKind(share=1.0, topics={"capital": 0.9}, competence=0.1, misconception=0.0, lapse=0.0)
    )
    known: dict[str, list[bool]] = {}
    for name, fact in list(people[0].facts.items()):
        known.setdefault(fact.kind, []).extend(person.knows(people[0].facts[name]) for person in people[::10])
    assert fmean(known["capital"]) == pytest.approx(0.9, abs=0.03)
    assert fmean(known["currency"]) == pytest.approx(0.1, abs=0.05)
    with pytest.raises(ValueError, match=r"topics rivers are not asked for; use capital"):
        panel(odd=PeopleKind(share=1.0, topics={"rivers": 0.5}))


LOST = {"competence": 1e-6, "misconception": 0.0, "length_bias": 0.0, "confidence_bias": 0.0, "lapse": 0.0}
"""Nobody knows anything, and no habit but the one at test."""


def logistic(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))


def lost(**habits: float | list[str]) -> list[Person]:
    return panel(40, lost=PeopleKind(share=1.0, **(LOST | habits)))  # pyright: ignore[reportArgumentType]


def equal_pairs() -> list[Pair]:
    """Two wrong names of one length a prompt, so that nothing but the habit at test tells them apart."""
    return [Pair(pair.id, pair.prompt, "Aaa bbb", "Ccc ddd") for pair in some_pairs()]


def test_position_bias_is_in_log_odds() -> None:
    assert first_taken(lost(position_bias=1.0), equal_pairs()) == pytest.approx(logistic(1.0), abs=0.02)
    assert first_taken(lost(), equal_pairs()) == 0.5


def test_doubling_bias_is_a_doubling() -> None:
    pairs = [Pair(pair.id, pair.prompt, "a b c", "d") for pair in some_pairs()]
    assert first_taken(lost(doubling_bias=0.7), pairs) == pytest.approx(logistic(0.7), abs=0.02)


def test_the_tie_band_gives_rao_kuppers_ties() -> None:
    people = lost(position_bias=0.5, tie_band=1.0)
    verdicts = Counter(person.judge(pair).preference for person in people for pair in equal_pairs())
    total = sum(verdicts.values())
    assert verdicts["a"] / total == pytest.approx(logistic(0.5 - 1.0), abs=0.02)
    assert verdicts["b"] / total == pytest.approx(logistic(-0.5 - 1.0), abs=0.02)


def test_myths_and_beliefs_are_phrases() -> None:
    pairs = [Pair(pair.id, pair.prompt, "The Earth is flat!", "No idea") for pair in some_pairs()]
    believers = lost(myths=["earth is FLAT"], myth_bias=2.0)
    assert first_taken(believers, pairs) == pytest.approx(logistic(2.0), abs=0.02)
    flattered = lost(beliefs=["no idea"], sycophancy=1.5)
    assert first_taken(flattered, pairs) == pytest.approx(1 - logistic(1.5), abs=0.02)
    whole_words = [Pair(pair.id, pair.prompt, "The earth is flattened", "No idea") for pair in some_pairs()]
    assert first_taken(believers, whole_words) == 0.5


def test_sycophancy_goes_by_the_persons_own_answer() -> None:
    people = lost(sycophancy=3.0)
    pairs = [pair for pair in some_pairs() if pair.id.endswith("/0")]
    agreeing = []
    for person in people:
        for pair in pairs:
            believed = person.belief(person.facts[pair.prompt.id]).text
            shown = Pair(pair.id, pair.prompt, believed, "no name at all here")
            agreeing.append(person.judge(shown).preference == "a")
    assert fmean(agreeing) == pytest.approx(logistic(3.0), abs=0.03)


def test_who_has_the_source_is_right() -> None:
    right_is_a = [pair for pair in some_pairs() if pair.id.endswith("/0")]
    assert first_taken(lost(source_access=1.0), right_is_a) == 1.0
    assert first_taken(lost(source_access=0.4), right_is_a) == pytest.approx(0.7, abs=0.03)


def test_the_appeal_of_a_pair_is_the_same_for_all() -> None:
    people = lost(appeal=3.0)
    shares = [fmean(person.judge(pair).preference == "a" for person in people) for pair in equal_pairs()]
    assert fmean(shares) == pytest.approx(0.5, abs=0.1)
    assert fmean(abs(share - 0.5) for share in shares) > 0.25


def test_the_order_of_work_does_not_matter() -> None:
    population: dict[str, Any] = {
        "odd": PeopleKind(share=1.0, position_bias=0.5, appeal=1.0, sycophancy=1.0, tie_band=0.3)
    }
    one, other = panel(**population), panel(**population)
    pairs = some_pairs(8)
    forwards = {(p.id, pair.id): p.judge(pair) for p in one for pair in pairs}
    backwards = {(p.id, pair.id): p.judge(pair) for pair in reversed(pairs) for p in reversed(other)}
    assert forwards == backwards


def test_populations_come_from_yaml_and_are_checked() -> None:
    config = load(
        "tiny", ["task.population={longer: {share: 0.25, rule: longer}, lost: {share: 0.5, topics: {capital: 0.1}}}"]
    )
    assert config.task.population["longer"] == PeopleKind(share=0.25, rule="longer")
    assert config.task.population["lost"].topics == {"capital": 0.1}
    one = load("tiny", ["task.population.longer.share=0.5", "task.population.longer.rule=longer"])
    assert one.task.population == {"longer": PeopleKind(share=0.5, rule="longer")}
    for wrong, said in (
        ("task.population.longer={shar: 0.2}", "task.population.longer.shar: is unknown; did you mean"),
        ("task.population.longer={rule: longer}", "task.population.longer.share: is missing"),
        ("task.population.longer=3", "task.population.longer: is 3"),
        ("task.population=[longer]", r"task.population: is \['longer'\]"),
        ("task.population.longer={share: 0.2, rule: odd}", "task.population.longer.rule: 'odd' is unknown"),
        ("task.population.longer={share: 2}", "task.population.longer.share: is 2"),
        ("task.population.longer={share: .2, topics: {capital: 7}}", "longer.topics.capital: is 7"),
    ):
        with pytest.raises(ConfigError, match=said):
            load("tiny", [wrong])
