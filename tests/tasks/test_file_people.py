"""Simulated people on the pairs of a file."""

from __future__ import annotations

import math
from statistics import fmean
from typing import Any

import pytest

from sandwiching.configs.schema import DataConfig, JudgementsTask, PeopleKind
from sandwiching.tasks.columns import prompt_id
from sandwiching.tasks.file_people import FilePerson, file_people, majority_truth
from sandwiching.tasks.habits import lapses
from sandwiching.tasks.judgements import JudgementsFile
from sandwiching.tasks.readers import write_judgements
from sandwiching.tasks.records import Judgement, Pair, Prompt

PAIRS = [Pair(str(number), Prompt(f"p{number}", "?", "g", "judgements"), "x y", "z w") for number in range(300)]


def people(size: int = 10, truth: dict | None = None, **habits: Any) -> list[FilePerson]:
    return file_people({"all": PeopleKind(share=1.0, **habits)}, size, truth or {}, seed=0)


def first_taken(panel: list[FilePerson], pairs: list[Pair] = PAIRS) -> float:
    verdicts = [person.judge(pair).preference for person in panel for pair in pairs]
    return fmean({"a": 1.0, "tie": 0.5, "b": 0.0}[verdict] for verdict in verdicts)


def logistic(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))


def test_competence_is_the_probability_of_choosing_the_better_one() -> None:
    truth = {(pair.prompt.id, "x y", "z w"): 1 for pair in PAIRS}
    assert first_taken(people(truth=truth, competence=0.8)) == pytest.approx(0.8, abs=0.02)
    assert first_taken(people(truth={}, competence=0.8)) == 0.5
    sides = people(truth=truth, competence=0.8, position_bias=0.5)
    assert first_taken(sides) == pytest.approx(logistic(math.log(4) + 0.5), abs=0.02)


def test_competence_by_group() -> None:
    truth = {(pair.prompt.id, "x y", "z w"): 1 for pair in PAIRS}
    kind = PeopleKind(share=1.0, competence=0.6, topics={"g": 0.95})
    assert first_taken(file_people({"all": kind}, 10, truth, seed=0)) == pytest.approx(0.95, abs=0.02)


def test_the_source_is_right_and_rules_hold() -> None:
    truth = {(pair.prompt.id, "x y", "z w"): -1 for pair in PAIRS}
    assert first_taken(people(truth=truth, source_access=1.0)) == 0.0
    mixed = file_people(
        {"first": PeopleKind(share=0.5, rule="first"), "sure": PeopleKind(share=0.5, source_access=1.0)},
        10,
        truth,
        seed=0,
    )
    for person in mixed:
        assert first_taken([person]) == (1.0 if person.kind == "first" else 0.0)


def test_lapses_differ_between_people_and_keep_their_mean() -> None:
    assert lapses(0.2, 0.0, [-1.0, 2.0]) == [0.2, 0.2]
    assert lapses(0.0, 3.0, [1.0]) == [0.0]
    found = lapses(0.2, 2.0, [-2.0, 0.0, 2.0])
    assert found[0] > 0.5 > found[1] > found[2]
    panel = people(300, lapse=0.2, ability_spread=2.0)
    assert fmean(person.lapse for person in panel) == pytest.approx(0.2, abs=0.005)
    numbers = [person.lapse for person in panel]
    assert numbers != sorted(numbers)


def test_order_does_not_matter_and_swapped_sides_swap_without_a_position_bias() -> None:
    habits: dict[str, Any] = {"appeal": 2.0, "tie_band": 0.5, "doubling_bias": 1.0, "confidence_bias": 1.0}
    one, other = people(4, **habits), people(4, **habits)
    forwards = [[person.judge(pair) for pair in PAIRS[:30]] for person in one]
    backwards = [[person.judge(pair) for pair in PAIRS[:30][::-1]][::-1] for person in other[::-1]][::-1]
    assert forwards == backwards
    assert {verdict.preference for row in forwards for verdict in row} == {"a", "b", "tie"}
    for pair in PAIRS[:30]:
        swapped = Pair(pair.id, pair.prompt, pair.response_b, pair.response_a)
        verdicts = one[0].judge(pair).preference, one[0].judge(swapped).preference
        assert verdicts in (("a", "b"), ("b", "a"), ("tie", "tie"))


def judgement(preference: str, rater: str, tier: str, number: int, swapped: bool = False) -> Judgement:
    texts = ("b", "a") if swapped else ("a", "b")
    return Judgement(f"question {number}", *texts, preference, rater, tier, group=f"g{number}")  # pyright: ignore[reportArgumentType]


def test_the_truth_is_a_majority_whatever_the_sides() -> None:
    rows = [judgement("a", "x", "expert", 0), judgement("b", "y", "expert", 0, swapped=True)]
    rows += [judgement("a", "x", "expert", 1), judgement("b", "y", "expert", 1), judgement("tie", "z", "expert", 2)]
    truth = majority_truth(rows)
    assert truth == {
        (prompt_id("question 0"), "a", "b"): 1,
        (prompt_id("question 1"), "a", "b"): 0,
        (prompt_id("question 2"), "a", "b"): 0,
    }


def test_a_file_hands_out_its_pairs_once_and_its_simulated_people(tmp_path) -> None:
    rows = [judgement("a", who, "weak", number, swapped=who == "y") for number in range(12) for who in "xyz"]
    rows += [judgement("b", "e", "expert", number) for number in range(12)]
    write_judgements(tmp_path / "file.jsonl", rows)
    data = DataConfig(judgements=str(tmp_path / "file.jsonl"))
    with pytest.raises(ValueError, match="no training panel"):
        JudgementsFile(JudgementsTask(name="judgements"), data, 0).weak_raters("training")
    kind = PeopleKind(share=1.0, competence=0.99)
    task = JudgementsTask(name="judgements", population={"all": kind}, raters=5, truth="expert")
    file = JudgementsFile(task, data, 0)
    pairs = file.training_pairs()
    assert len(pairs) == len(file.prompts("train"))
    assert all((pair.response_a, pair.response_b) == ("a", "b") for pair, _, _ in pairs)
    panel = file.weak_raters("training")
    assert len(panel) == 5
    verdicts = [person.judge(pair).preference for person in panel for pair, _, _ in pairs]
    assert verdicts.count("b") / len(verdicts) > 0.9
