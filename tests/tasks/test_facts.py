import pytest

from sandwiching.tasks.facts import KINDS, Fact, facts
from sandwiching.tasks.geonames import world

ALL = {fact.id: fact for fact in facts(list(KINDS), 500_000)}


def test_prompts_and_sentences() -> None:
    fact = ALL["capital/NL"]
    assert fact.prompt == "Question: What is the capital of the Netherlands?\nAnswer:"
    assert fact.sentence(fact.best) == "The capital of the Netherlands is Amsterdam."
    fact = ALL["neighbour/CF"]
    assert fact.sentence(fact.best) == (
        "The Central African Republic shares a border with the Democratic Republic of the Congo."
    )
    assert ALL["currency/TH"].sentence(ALL["currency/TH"].best) == "The currency of Thailand is the baht."
    assert ALL["country_of_capital/FR"].question == "Paris is the capital of which country?"


def test_enough_facts_of_every_kind() -> None:
    kinds = [fact.kind for fact in ALL.values()]
    assert all(kinds.count(kind) >= 140 for kind in KINDS)
    assert len({fact.country for fact in ALL.values()}) > 150


def test_no_question_holds_its_answer() -> None:
    for fact in ALL.values():
        asked = fact.question.casefold()
        assert fact.best.text.casefold() not in asked.split("?")[0].split() or fact.kind == "neighbour"
    assert not {"capital/GT", "capital/SG", "country_of_capital/LU", "capital/KW", "capital/MX"} & ALL.keys()


def test_answers_are_of_the_right_list() -> None:
    for fact in ALL.values():
        assert fact.best.key in fact.right
        assert fact.right & world().names[fact.answers].by_key.keys()


def test_choice_of_facts() -> None:
    large = facts(["capital"], 100_000_000)
    assert {fact.country for fact in large} <= {one.iso for one in world().countries.values() if one.population >= 1e8}
    assert all(isinstance(fact, Fact) and fact.kind == "capital" for fact in large)
    with pytest.raises(ValueError, match=r"task\.kinds: 'rivers' is unknown"):
        facts(["rivers"], 0)
