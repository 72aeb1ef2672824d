"""Habits that were planted are found, within the limits that are given; the likelihood equals a loop's."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from sandwiching.tasks.people_fit import _rows, fit_habits, log_likelihood, simulated
from sandwiching.tasks.records import Judgement
from sandwiching.tasks.votes import Votes, votes_of

PLANTED = {
    "doubling_bias": 0.8,
    "confidence_bias": 0.5,
    "position_bias": 0.3,
    "competence": 0.75,
    "appeal": 1.2,
    "tie_band": 0.6,
    "lapse": 0.15,
    "ability_spread": 1.5,
}


def blank(pairs: int = 500, votes: int = 6, raters: int = 60, groups: int = 15) -> Votes:
    """Who judged what, without verdicts that mean anything."""
    draw = random.Random(0)
    rows = []
    for number in range(pairs):
        texts = [" ".join(["word"] * draw.randint(1, 12)) + draw.choice(["", " surely", " perhaps"]) for _ in "ab"]
        texts[0] += f" {number}"
        for rater in draw.sample(range(raters), votes):
            a, b = texts if draw.random() < 0.5 else texts[::-1]
            rows.append(Judgement(f"p{number}", a, b, "a", f"r{rater}", "weak", group=f"g{number % groups}"))
    found = votes_of(rows, {})
    return replace(found, truth_P=np.array([draw.choice([-1, 0, 1]) for _ in found.pairs]))


@pytest.mark.slow
def test_planted_habits_are_found() -> None:
    found = fit_habits(simulated(blank(), PLANTED, seed=1), critical=2.5)
    assert set(found.habits) == set(PLANTED)
    for name, one in found.habits.items():
        assert one.low <= PLANTED[name] <= one.high, name
        assert one.low <= one.value <= one.high
    assert found.habits["competence"].high - found.habits["competence"].low < 0.25
    assert found.habits["doubling_bias"].high - found.habits["doubling_bias"].low < 0.8
    assert (found.votes, found.pairs, found.raters, found.clusters) == (3000, 500, 60, 15)


def test_a_crowd_without_habits_is_found_to_have_none() -> None:
    found = fit_habits(simulated(blank(pairs=300), {"position_bias": 0.0, "appeal": 1.0}, seed=2), critical=2.5)
    assert not {"tie_band", "lapse", "ability_spread"} & found.habits.keys()
    for name in ("doubling_bias", "confidence_bias", "position_bias"):
        assert found.habits[name].low <= 0 <= found.habits[name].high
    assert found.habits["competence"].low <= 0.5 <= found.habits["competence"].high


def test_the_likelihood_equals_a_loop_over_votes() -> None:
    votes = simulated(blank(pairs=6, votes=4, groups=2), PLANTED, seed=3)
    names = ["doubling_bias", "confidence_bias", "position_bias", "competence", "appeal", "tie_band", "lapse"]
    place = torch.tensor([0.8, 0.5, 0.3, 1.1, math.log(1.2), math.log(0.6), -1.7], dtype=torch.float64)
    found = log_likelihood(_rows(votes), names, place).tolist()
    nodes, weights = np.polynomial.hermite_e.hermegauss(15)
    lapse = 1 / (1 + math.exp(1.7))

    def logistic(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    for pair in range(len(votes.pairs)):
        total = 0.0
        for b, weight in zip(nodes, weights / weights.sum(), strict=True):
            product = weight
            for vote in np.flatnonzero(votes.pair_V == pair):
                z = 1.1 * votes.truth_P[pair] + 1.2 * b + 0.8 * votes.doublings_P[pair]
                z += 0.5 * votes.bolder_P[pair] + 0.3 * votes.side_V[vote]
                one, other = logistic(z - 0.6), logistic(-z - 0.6)
                kind = {1: one, -1: other, 0: 1 - one - other}[int(votes.outcome_V[vote])]
                product *= (1 - lapse) * kind + (lapse / 2 if votes.outcome_V[vote] else 0)
            total += product
        assert found[pair] == pytest.approx(math.log(total))


def test_too_little_is_refused() -> None:
    single = blank(pairs=5, votes=1)
    with pytest.raises(ValueError, match="no pair was judged twice"):
        fit_habits(single, critical=2.0)
    one_prompt = [Judgement("p", "a", "b", "a", f"r{i}", "weak") for i in range(4)]
    with pytest.raises(ValueError, match="at least two prompts"):
        fit_habits(votes_of(one_prompt, {}), critical=2.0)
