import math
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandwiching.tasks.answers import candidates, misleading, names_right
from sandwiching.tasks.facts import Fact, facts
from sandwiching.tasks.habits import Habits, boldness
from sandwiching.tasks.people import LONGEST_ANSWER, Knowledge, Person, estimated_tokens, fitted_knowledge
from sandwiching.tasks.records import Pair, Prompt

FACTS = {fact.id: fact for fact in facts(["capital", "neighbour"], 500_000)}
AUSTRALIA = FACTS["capital/AU"]
NOBODY, EVERYBODY = Knowledge(-1000, 0, 0), Knowledge(1000, 0, 0)


def person(knowledge: Knowledge, name: str = "ann", seed: int = 0, **habits: Any) -> Person:
    still: dict[str, Any] = {"misconception": 0.0, "length_bias": 0.0, "confidence_bias": 0.0, "lapse": 0.0}
    return Person(name, "weak", seed, 0.0, knowledge, Habits(**{**still, **habits}), FACTS)


def pair(fact: Fact, a: str, b: str, name: str = "pair") -> Pair:
    return Pair(name, Prompt(fact.id, fact.prompt, fact.country, fact.kind), a, b)


def share(who: Person, a: str, b: str, fact: Fact = AUSTRALIA, times: int = 400) -> float:
    """How often `a` wins, ties half."""
    verdicts = [who.judge(pair(fact, a, b, str(time))).preference for time in range(times)]
    return fmean({"a": 1.0, "tie": 0.5, "b": 0.0}[verdict] for verdict in verdicts)


def test_who_knows_goes_by_the_facts() -> None:
    who = person(EVERYBODY, misconception=1.0, length_bias=1.0)
    assert share(who, "Canberra", "The capital of Australia is surely Sydney.", times=20) == 1.0
    assert who.judge(pair(AUSTRALIA, "Sydney", "Perth")).preference == "tie"
    assert who.judge(pair(AUSTRALIA, "Canberra", "It is Canberra.")).preference == "tie"


def test_who_does_not_know_falls_for_the_familiar_name() -> None:
    who = person(NOBODY, misconception=1.0)
    assert share(who, "Canberra", "Sydney", times=20) == 0.0
    assert share(who, "no idea", "Canberra", times=20) == 0.0
    for fact in list(FACTS.values())[:60]:
        if lure := misleading(fact):
            assert share(who, fact.best.text, fact.sentence(lure), fact, times=3) == 0.0


def test_surface_follows_the_log_odds() -> None:
    who = person(NOBODY, length_bias=0.5, confidence_bias=1.0)
    assert who.surface("It is definitely Perth", "I think it is Perth") == pytest.approx(-0.5 + 2.0)
    expected = 1 / (1 + math.exp(-1.5))
    assert share(who, "It is definitely Perth", "I think it is Perth", times=2000) == pytest.approx(expected, abs=0.04)
    assert who.judge(pair(AUSTRALIA, "Perth", "Sydney")).preference == "tie"


def test_misconception_and_lapse_are_shares() -> None:
    assert share(person(NOBODY, misconception=0.8), "Canberra", "Sydney", times=2000) == pytest.approx(0.1, abs=0.03)
    assert share(person(EVERYBODY, lapse=0.2), "Canberra", "Sydney", times=2000) == pytest.approx(0.9, abs=0.03)


def test_equal_responses_tie_even_in_a_lapse() -> None:
    assert share(person(EVERYBODY, lapse=1.0), "Perth", "Perth") == 0.5


RESPONSES = st.sampled_from(["Canberra", "Sydney", "It is definitely Perth.", "I think it is Sydney.", "", "?"])


@given(RESPONSES, RESPONSES, st.integers(0, 50), st.sampled_from([NOBODY, EVERYBODY]))
def test_swapping_sides_swaps_the_verdict(a: str, b: str, seed: int, knowledge: Knowledge) -> None:
    who = person(knowledge, seed=seed, misconception=0.5, length_bias=0.3, confidence_bias=1.0, lapse=0.3)
    verdict = who.judge(pair(AUSTRALIA, a, b))
    swapped = who.judge(pair(AUSTRALIA, b, a))
    assert {"a": "b", "b": "a", "tie": "tie"}[verdict.preference] == swapped.preference
    assert verdict.confidence == swapped.confidence
    assert 0.5 <= (verdict.confidence or 0) <= 1
    assert who.judge(pair(AUSTRALIA, a, b)) == verdict


def test_luck_depends_on_person_seed_and_pair() -> None:
    def verdicts(name: str, seed: int, start: int) -> list[str]:
        who = person(NOBODY, name, seed, lapse=1.0)
        return [who.judge(pair(AUSTRALIA, "Perth", "Sydney", str(start + n))).preference for n in range(30)]

    base = verdicts("ann", 0, 0)
    assert base == verdicts("ann", 0, 0)
    assert base not in (verdicts("bob", 0, 0), verdicts("ann", 1, 0), verdicts("ann", 0, 30))


def test_prompts_of_another_task_are_refused() -> None:
    with pytest.raises(ValueError, match="no prompt 'x'"):
        person(NOBODY).judge(Pair("p", Prompt("x", "?", "g", "k"), "a", "b"))


@pytest.mark.parametrize("competence", [0.1, 0.35, 0.9])
def test_fitted_knowledge(competence: float) -> None:
    populations = (10**6, 10**6, 10**7, 10**9)
    knowledge = fitted_knowledge(populations, competence, slope=3.0, spread=0.7)
    assert fmean(knowledge.mean(population) for population in populations) == pytest.approx(competence)
    means = [knowledge.mean(population) for population in sorted(set(populations))]
    assert means == sorted(means)
    with pytest.raises(ValueError, match="competence"):
        fitted_knowledge(populations, 1.0, 3.0, 0.7)


def test_people_know_as_often_as_their_knowledge_says() -> None:
    knowledge = fitted_knowledge((25_000_000,), 0.3, slope=3.0, spread=0.0)
    know = [person(knowledge, str(number)).knows(AUSTRALIA) for number in range(2000)]
    assert fmean(know) == pytest.approx(0.3, abs=0.03)


def test_answers() -> None:
    wise, lost = person(EVERYBODY), person(NOBODY, misconception=1.0)
    for fact in FACTS.values():
        assert names_right(fact, wise.answer(fact))
        lure = misleading(fact)
        assert names_right(fact, lost.answer(fact)) == (lure is None)
    guesses = [names_right(AUSTRALIA, person(NOBODY, str(number)).answer(AUSTRALIA)) for number in range(2000)]
    assert fmean(guesses) == pytest.approx(1 / len(candidates(AUSTRALIA)), abs=0.03)


def test_answers_are_short_and_come_in_all_styles() -> None:
    texts = [person(NOBODY, str(number)).answer(AUSTRALIA) for number in range(60)]
    assert any(text.startswith("The capital of Australia is ") for text in texts)
    assert {boldness(text) for text in texts} == {-1, 0, 1}
    assert all(estimated_tokens(person(NOBODY).answer(fact)) <= LONGEST_ANSWER for fact in FACTS.values())


@pytest.mark.slow
def test_answers_fit_into_fifteen_tokens_of_smollm2() -> None:
    from transformers import AutoTokenizer

    from sandwiching.policy.base_models import resolve

    tokenizer = AutoTokenizer.from_pretrained(resolve("smollm2-135m"))
    for number in range(5):
        for fact in FACTS.values():
            answer = person(NOBODY, str(number), misconception=0.3).answer(fact)
            assert len(tokenizer.encode(f" {answer}")) <= 15, answer
