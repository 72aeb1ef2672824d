"""The numbers of a crowd against loops over its judgements."""

from __future__ import annotations

import itertools
import random
from statistics import fmean

import numpy as np
import pytest

from sandwiching.tasks.columns import prompt_id
from sandwiching.tasks.habits import boldness, word_count
from sandwiching.tasks.records import Judgement, Preference
from sandwiching.tasks.votes import habits_table, ratio, votes_of
from sandwiching.training.vote_table import vote_table

PREFERENCES: list[Preference] = ["a", "b", "tie"]
TEXTS = ["no", "yes it is", "it is definitely so", "I think so", "perhaps not today"]


def crowd(seed: int = 0) -> list[Judgement]:
    draw = random.Random(seed)
    rows, seen = [], set()
    for number, (a, b) in enumerate(itertools.permutations(TEXTS, 2)):
        for rater in draw.sample(range(8), 4):
            preference: Preference = draw.choice(PREFERENCES)
            asked = (number % 7, frozenset((a, b)), rater)
            if asked in seen:
                continue
            seen.add(asked)
            rows.append(
                Judgement(f"prompt {number % 7}", a, b, preference, f"r{rater}", "weak", group=f"g{number % 4}")
            )
    return rows


def taken(row: Judgement) -> str | None:
    return {"a": row.response_a, "b": row.response_b}.get(row.preference)


def test_shares_equal_those_counted_by_hand() -> None:
    rows = crowd()
    truth = {(prompt_id(row.prompt), min(texts := (row.response_a, row.response_b)), max(texts)): 1 for row in rows}
    table = habits_table(votes_of(rows, truth), 2.0)
    untied = [row for row in rows if row.preference != "tie"]
    assert table["ties"].estimate == pytest.approx(1 - len(untied) / len(rows))
    assert table["takes the first"].estimate == pytest.approx(fmean(row.preference == "a" for row in untied))
    for name, measure in (("takes the longer", word_count), ("takes the bolder", boldness)):
        apart = [row for row in untied if measure(row.response_a) != measure(row.response_b)]
        hits = [measure(str(taken(row))) == max(measure(row.response_a), measure(row.response_b)) for row in apart]
        assert table[name].estimate == pytest.approx(fmean(hits))
        assert table[name].counted == len(apart)
    right = [taken(row) == min(row.response_a, row.response_b) for row in untied]
    assert table["agrees with the truth"].estimate == pytest.approx(fmean(right))


def test_agreement_equals_that_of_loops() -> None:
    rows = crowd(1)
    by_pair: dict[tuple, list[Judgement]] = {}
    for row in rows:
        key = (row.prompt, *sorted((row.response_a, row.response_b)))
        by_pair.setdefault(key, []).append(row)
    agree, weight, hits = 0.0, 0, []
    for votes in by_pair.values():
        two = [taken(x) == taken(y) for x, y in itertools.combinations(votes, 2)]
        agree += fmean(two) * len(votes)
        weight += len(votes)
        for vote in votes:
            others = [taken(other) for other in votes if other is not vote]
            counts = {text: others.count(text) for text in set(others) - {None}}
            best = max(counts.values(), default=0)
            majority = [text for text, count in counts.items() if count == best]
            if taken(vote) is not None and len(majority) == 1:
                hits.append(taken(vote) == majority[0])
    table = habits_table(votes_of(rows, {}), 2.0)
    assert table["two raters agree"].estimate == pytest.approx(agree / weight)
    assert table["agrees with the majority of the others"].estimate == pytest.approx(fmean(hits))
    assert table["agrees with the truth"].counted == 0
    assert np.isnan(table["agrees with the truth"].estimate)


def planted(good: float, bad: float) -> list[Judgement]:
    """10 raters of two skills on 2,000 pairs whose first response is right."""
    draw = random.Random(0)
    rows = []
    for number in range(2000):
        for rater in range(10):
            right = draw.random() < (good if rater < 5 else bad)
            rows.append(
                Judgement(f"p{number}", "a", "b", "a" if right else "b", f"r{rater}", "weak", group=f"g{number % 20}")
            )
    return rows


def test_the_variance_between_raters_is_that_of_their_skill_and_not_of_their_luck() -> None:
    apart = habits_table(votes_of(planted(0.95, 0.65), {}), 2.0)["variance of that between raters"]
    assert apart.estimate == pytest.approx(0.15**2, abs=0.004)
    same = habits_table(votes_of(planted(0.8, 0.8), {}), 2.0)["variance of that between raters"]
    assert same.estimate == pytest.approx(0.0, abs=0.001)
    assert same.high - same.low < 0.002


def test_pairs_are_those_of_the_report_and_a_rater_votes_once_on_each() -> None:
    rows = [
        Judgement("q", "x", "y", "a", "r", "weak", pair="1"),
        Judgement("q", "y", "x", "a", "r", "weak", pair="1"),
        Judgement("q", "y", "x", "a", "r", "weak", pair="2"),
        Judgement("q", "y", "x", "b", "s", "weak", pair="1"),
        Judgement("q", "x", "y", "b", "s", "weak"),
        Judgement("another", "x", "y", "b", "s", "weak", pair="1"),
    ]
    found, report = votes_of(rows, {}), vote_table(rows)
    assert found.pair_V.tolist() == report.votes.pair_E.tolist() == [0, 1, 0, 2, 3]
    assert found.outcome_V.tolist() == [1, -1, 1, -1, -1]
    assert report.votes.sign_E.tolist() == [1, 1, 1, -1, -1], "by the way around that a pair was first shown"
    assert (report.repeated, len(rows) - found.votes) == (1, 1)
    assert len({pair.id for pair in found.pairs}) == 4


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=50)
    found = ratio(values, np.ones(50), 1.0)
    assert found.estimate == pytest.approx(values.mean())
    assert found.high - found.estimate == pytest.approx(values.std(ddof=1) / np.sqrt(50))


def test_one_group_means_its_prompts_and_equal_responses_are_left_out() -> None:
    rows = [Judgement(f"p{i}", "a", "b", "a", "r", "weak", group="all") for i in range(3)]
    assert len(votes_of(rows, {}).groups) == 3
    same = [Judgement("p", "a", "a", "tie", "r", "weak")]
    assert votes_of([*rows, *same], {}).votes == 3
    with pytest.raises(ValueError, match="two different responses"):
        votes_of(same, {})
