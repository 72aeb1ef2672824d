"""Votes with known truths and known raters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from sandwiching.reward_model.reliability.votes import Floats, Ints, Votes


@dataclass(frozen=True, slots=True)
class World:
    """Votes, and for each pair which text is truly better (+1 the first, -1 the second)."""

    votes: Votes
    truth_P: Floats


def draw_raters(random: np.random.Generator, pairs: int, raters: int, each: int) -> tuple[Ints, Ints]:
    """Pairs and raters of the votes: `each` different raters a pair."""
    rater_E = np.argsort(random.random((pairs, raters)), axis=1)[:, :each].ravel()
    return np.repeat(np.arange(pairs), each), rater_E


def coin_world(skills: Floats, pairs: int, each: int, ties: float = 0.15, seed: int = 0) -> World:
    """Raters are right with probabilities `skills`, whatever the pair; every pair has texts of its own."""
    random = np.random.default_rng(seed)
    pair_E, rater_E = draw_raters(random, pairs, len(skills), each)
    truth_P = random.choice([-1.0, 1.0], pairs)
    right_E = random.random(len(pair_E)) < skills[rater_E]
    sign_E = np.where(right_E, truth_P[pair_E], -truth_P[pair_E])
    sign_E[random.random(len(pair_E)) < ties] = 0
    turned_E = random.random(len(pair_E)) < 0.5
    first_P = 2 * np.arange(pairs)
    return World(Votes(pair_E, rater_E, sign_E, turned_E, first_P, first_P + 1, len(skills)), truth_P)


def score_world(skills: Floats, texts: int, pairs: int, each: int, log_nu: float = -1.0, seed: int = 0) -> World:
    """Raters read Davidson's scores (deviation 2) the right way up with probabilities `skills`."""
    random = np.random.default_rng(seed)
    pair_E, rater_E = draw_raters(random, pairs, len(skills), each)
    score_T = 2 * random.normal(size=texts)
    first_P = random.integers(0, texts, pairs)
    second_P = (first_P + random.integers(1, texts, pairs)) % texts
    delta_P = score_T[first_P] - score_T[second_P]
    read_E = np.where(random.random(len(pair_E)) < skills[rater_E], 1.0, -1.0) * delta_P[pair_E]
    win_E, lose_E = np.exp(read_E / 2), np.exp(-read_E / 2)
    place_E = random.random(len(pair_E)) * (win_E + lose_E + np.exp(log_nu))
    sign_E = np.where(place_E < win_E, 1.0, np.where(place_E < win_E + lose_E, -1.0, 0.0))
    turned_E = random.random(len(pair_E)) < 0.5
    return World(Votes(pair_E, rater_E, sign_E, turned_E, first_P, second_P, len(skills)), np.sign(delta_P))


@pytest.fixture(name="coin_world")
def coin_world_fixture() -> Callable[..., World]:
    """See coin_world."""
    return coin_world


@pytest.fixture(name="score_world")
def score_world_fixture() -> Callable[..., World]:
    """See score_world."""
    return score_world
