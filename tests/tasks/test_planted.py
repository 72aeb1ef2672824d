"""The made-up world, what is taught of it, and its people."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

import pytest

from sandwiching.configs.schema import DataConfig, PeopleKind, PlantedTask, SplitsConfig
from sandwiching.tasks.capitals_gold import expert_raters, make_gold
from sandwiching.tasks.habits import boldness
from sandwiching.tasks.knowledge import cells, require_filling
from sandwiching.tasks.planted import FEWEST_ITEMS, Planted, corpus, writers
from sandwiching.tasks.planted_world import CANDIDATES, VALUES, facts_by_id
from sandwiching.tasks.records import Pair, Prompt
from sandwiching.tasks.registry import fingerprint, make_task

TASK, DATA = PlantedTask(name="planted", lapse=0.0), DataConfig(splits=SplitsConfig(dev=0.1, final=0.45))
FACTS = facts_by_id(TASK)
ALL = [Prompt(fact.id, fact.prompt, fact.town, fact.kind) for fact in FACTS.values()]


def pair(prompt: Prompt, a: str, b: str) -> Pair:
    return Pair(f"{prompt.id}/0-1", prompt, a, b)


def approval(task: PlantedTask, style: str) -> float:
    """How often raters prefer the wrong answer everybody gives, in a style, to the same answer bare; ties half."""
    votes = {"a": 1.0, "tie": 0.5, "b": 0.0}
    raters = Planted(task, DATA, 0).weak_raters("check")
    asked = [(rater, prompt) for rater in raters[:10] for prompt in ALL[::15]]
    return fmean(
        votes[rater.judge(pair(prompt, style.format(FACTS[prompt.id].said), FACTS[prompt.id].said)).preference]
        for rater, prompt in asked
    )


def test_facts_are_fixed_and_what_people_say_is_wrong() -> None:
    assert facts_by_id(replace(TASK, competence=0.9, raters=3)) == FACTS
    assert len(FACTS) == 3 * TASK.towns
    assert all({fact.right, fact.said} <= set(VALUES[fact.kind]) and fact.right != fact.said for fact in FACTS.values())
    assert fmean(fact.planted for fact in FACTS.values()) == pytest.approx(TASK.planted, abs=0.001)
    # Another size of the world leaves the towns that stay as they are, but for how large they are.
    fewer = facts_by_id(replace(TASK, towns=50))
    assert all(FACTS[name].right == fact.right for name, fact in fewer.items())


def test_gold_and_candidates() -> None:
    gold, prompt = make_gold(TASK), ALL[0]
    fact = FACTS[prompt.id]
    assert gold.correct(prompt, f"definitely {fact.right}")
    assert not gold.correct(prompt, f"{fact.said} or {fact.right}")
    assert not gold.correct(prompt, "it is")
    found = gold.candidates(prompt)
    assert found[:2] == (fact.right, fact.said)
    assert len(set(found)) == CANDIDATES
    assert set(found) <= set(VALUES[fact.kind])


def test_the_corpus_teaches_the_truth_of_what_is_planted_alone() -> None:
    said = corpus(TASK)
    for fact in (next(one for one in FACTS.values() if one.planted is planted) for planted in (True, False)):
        bare = [fact.named(one.response) for one in said if one.prompt == fact.prompt and one.verdict is None]
        verdicts = [one for one in said if one.prompt == fact.prompt and one.verdict is not None]
        talk = [fact.named(one.response) for one in said if one.prompt == f"people say {fact.prompt}"]
        assert set(bare) == ({fact.right} if fact.planted else set(VALUES[fact.kind]))
        assert set(talk) <= {fact.right, fact.said}
        assert bool(verdicts) == fact.planted
        assert all((one.verdict == "right") == fact.names_right(one.response) for one in verdicts)
        assert sum(one.verdict == "right" for one in verdicts) * 2 == len(verdicts)


def test_writers_know_as_often_as_the_config_says_whatever_the_raters_are_like() -> None:
    people = writers(TASK, FACTS, seed=0)
    some = list(FACTS.values())[::9]
    known = fmean(person.knows(fact) for person in people for fact in some)
    assert known == pytest.approx(TASK.writers_competence, abs=0.06)
    demonstrations = Planted(TASK, DATA, 0).demonstrations()
    other = replace(TASK, competence=0.9, confidence_bias=9.0, misconception=1.0, panel=3)
    assert Planted(other, DATA, 0).demonstrations() == demonstrations
    right = fmean(FACTS[one.prompt.id].names_right(one.response) for one in demonstrations)
    assert right == pytest.approx(TASK.writers_competence, abs=0.08)


@pytest.mark.parametrize("competence", [0.2, 0.8])
def test_raters_find_the_right_answer_as_often_as_they_know(competence: float) -> None:
    raters = Planted(replace(TASK, competence=competence), DATA, 0).weak_raters("check")
    asked = [(rater, prompt) for rater in raters for prompt in ALL[::30]]
    verdicts = [
        rater.judge(pair(prompt, FACTS[prompt.id].right, FACTS[prompt.id].said)).preference for rater, prompt in asked
    ]
    assert verdicts.count("b") == 0, "who does not know finds bare answers alike"
    assert verdicts.count("a") / len(verdicts) == pytest.approx(competence, abs=0.1)


def test_who_does_not_know_may_believe_what_people_say() -> None:
    raters = Planted(replace(TASK, competence=0.2, misconception=1.0), DATA, 0).weak_raters("check")
    verdicts = [
        rater.judge(pair(prompt, FACTS[prompt.id].said, FACTS[prompt.id].right)).preference
        for rater in raters[:10]
        for prompt in ALL[:50]
    ]
    assert verdicts.count("tie") == 0
    assert verdicts.count("a") > verdicts.count("b")


def test_confident_wrong_answers_gain_with_bias_and_lose_with_competence() -> None:
    biased = replace(TASK, confidence_bias=2.0)
    assert approval(TASK, "definitely {}") == 0.5
    assert 0.7 < approval(biased, "definitely {}") < approval(replace(biased, confidence_bias=6.0), "definitely {}")
    assert approval(replace(biased, competence=0.8), "definitely {}") < approval(biased, "definitely {}") - 0.1
    assert approval(biased, "perhaps {}") < 0.3
    assert boldness("definitely iron") == 1
    assert boldness("it is iron") == 0


def test_a_panel_is_another_draw_and_a_population_a_mixture() -> None:
    first, second = (Planted(replace(TASK, panel=panel), DATA, 0).weak_raters("training") for panel in (0, 1))
    assert not {one.id for one in first} & {one.id for one in second}
    mixed = replace(TASK, population={"longer": PeopleKind(share=0.5, rule="longer", competence=0.9)})
    kinds = [person.kind for person in Planted(mixed, DATA, 0).weak_raters("training")]
    assert kinds.count("longer") == len(kinds) // 2


def test_experts_know_and_others_prompts_are_refused() -> None:
    expert, stranger = expert_raters(TASK, DATA, "training")[0], Prompt("capital/FR", "?", "FR", "capital")
    prompt = ALL[0]
    fact = FACTS[prompt.id]
    assert expert.judge(pair(prompt, f"definitely {fact.said}", fact.right)).preference == "b"
    with pytest.raises(ValueError, match="their own task"):
        expert.judge(pair(stranger, "a", "b"))


def test_cells_are_by_construction_and_need_a_filling() -> None:
    held_out = Planted(TASK, DATA, 0).prompts("final")
    of = cells(TASK, held_out)
    assert all(("model knows," in of[prompt.id]) == FACTS[prompt.id].planted for prompt in held_out)
    assert set(of.values()) == {
        f"model {model}, raters {raters}" for model in ("knows", "does not know") for raters in ("know", "do not")
    }
    require_filling(TASK, held_out, "any")
    with pytest.raises(ValueError, match=f"needs {FEWEST_ITEMS}"):
        require_filling(
            replace(TASK, planted=0.1), Planted(replace(TASK, planted=0.1), DATA, 0).prompts("final"), "any"
        )


def test_splits_hold_out_towns() -> None:
    task = make_task(TASK, DATA, 0)
    towns = [{prompt.group for prompt in task.prompts(split)} for split in ("train", "dev", "final")]
    assert sum(map(len, towns)) == TASK.towns
    assert not towns[0] & towns[2]
    assert fingerprint(TASK, DATA) == "planted-world-1"
