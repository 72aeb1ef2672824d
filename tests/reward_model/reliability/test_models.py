"""Every reliability model on votes whose raters are known: skills found, adversaries found as such, intervals kept."""

import time

import numpy as np
import pytest

from sandwiching.reward_model.reliability.models import MODELS
from sandwiching.reward_model.reliability.records import wilson_interval
from sandwiching.reward_model.reliability.votes import Votes

SKILLS = np.linspace(0.5, 0.95, 40)
LEARNING = ("one_coin", "dawid_skene", "crowd_bradley_terry")


def correlation(found, planted):
    return np.corrcoef(found.skill_K, planted)[0, 1]


def accuracy(found, truth_P):
    return ((1 + found.verdict_P * truth_P) / 2).mean()


def test_wilsons_interval_by_his_formula():
    low, high = wilson_interval(np.array([9, 0, 5, 0]), np.array([10, 5, 5, 0]))
    assert (low[0], high[0]) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    assert low[1:].tolist() == pytest.approx([0.0, 0.5655, 0.0], abs=1e-4)
    assert high[1:].tolist() == pytest.approx([0.4345, 1.0, 1.0], abs=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_planted_skills_are_recovered(name, coin_world):
    world = coin_world(SKILLS, pairs=4000, each=5)
    assert len(world.votes) == 20_000
    assert correlation(MODELS[name](world.votes), SKILLS) > 0.95


@pytest.mark.parametrize("name", MODELS)
def test_adversaries_are_found_as_such_and_nobody_else(name, coin_world):
    skills = SKILLS.copy()
    skills[::10] = 0.2
    found = MODELS[name](coin_world(skills, pairs=4000, each=5, seed=1).votes)
    assert np.flatnonzero(found.adversary_K).tolist() == [0, 10, 20, 30]
    assert correlation(found, skills) > 0.95


@pytest.mark.parametrize("name", LEARNING)
def test_labels_beat_the_majority_and_half_the_panel_may_be_adversaries_of_few_votes(name, coin_world):
    skills = np.concatenate([np.full(14, 0.9), np.full(6, 0.1)])
    world = coin_world(skills, pairs=600, each=7, seed=3)
    majority = accuracy(MODELS["majority"](world.votes), world.truth_P)
    found = MODELS[name](world.votes)
    assert accuracy(found, world.truth_P) > majority + 0.05
    assert found.adversary_K.tolist() == (skills < 0.5).tolist()


@pytest.mark.parametrize(
    ("name", "world", "least"),
    [("one_coin", "coin", 0.88), ("dawid_skene", "coin", 0.85), ("crowd_bradley_terry", "score", 0.88)],
)
def test_intervals_cover_in_the_models_own_world(name, world, least, coin_world, score_world):
    covered = []
    for seed in range(4):
        skills = np.random.default_rng(seed).beta(6, 2.5, 40)
        votes = (
            coin_world(skills, 600, 5, seed=seed) if world == "coin" else score_world(skills, 60, 600, 5, seed=seed)
        ).votes
        found = MODELS[name](votes)
        covered += ((found.low_K <= skills) & (skills <= found.high_K)).tolist()
        assert np.all((found.low_K < found.skill_K) & (found.skill_K < found.high_K))
    assert np.mean(covered) > least


def test_where_texts_meet_again_scores_help(score_world):
    world = score_world(SKILLS, texts=200, pairs=1000, each=5)
    found = {name: accuracy(model(world.votes), world.truth_P) for name, model in MODELS.items()}
    assert found["crowd_bradley_terry"] > max(found[name] for name in MODELS if name != "crowd_bradley_terry") + 0.05


@pytest.mark.parametrize("name", ["majority", "one_coin", "crowd_bradley_terry"])
def test_turning_pairs_around_turns_the_labels_only(name, coin_world):
    votes = coin_world(SKILLS[:10], pairs=150, each=5).votes
    turn_P = np.random.default_rng(0).choice([-1.0, 1.0], votes.pairs)
    first_P = np.where(turn_P > 0, votes.first_P, votes.second_P)
    second_P = np.where(turn_P > 0, votes.second_P, votes.first_P)
    sign_E = votes.sign_E * turn_P[votes.pair_E]
    turned = Votes(votes.pair_E, votes.rater_E, sign_E, votes.turned_E, first_P, second_P, votes.raters)
    one, other = MODELS[name](votes), MODELS[name](turned)
    assert other.skill_K == pytest.approx(one.skill_K, abs=1e-6)
    assert other.soft_P - 0.5 == pytest.approx(turn_P * (one.soft_P - 0.5), abs=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_raters_without_company_are_not_trusted(name):
    count = 60
    alone = Votes(
        np.arange(count), np.repeat(np.arange(3), count // 3), np.ones(count), np.zeros(count, dtype=bool),
        2 * np.arange(count), 2 * np.arange(count) + 1, 3,
    )  # fmt: skip
    found = MODELS[name](alone)
    assert not found.trusted_K.any()
    assert not found.adversary_K.any()
    assert found.effective_K.max() < 0.5


@pytest.mark.parametrize("name", MODELS)
def test_only_ties_leave_labels_level(name):
    votes = Votes(
        np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.zeros(4), np.zeros(4, dtype=bool),
        np.array([0, 2]), np.array([1, 3]), 2,
    )  # fmt: skip
    found = MODELS[name](votes)
    assert found.verdict_P.tolist() == [0, 0]
    assert found.effective_K.tolist() == pytest.approx([0, 0], abs=1e-6)


@pytest.mark.slow
def test_eighty_five_thousand_votes_take_seconds_of_one_core(score_world):
    skills = np.random.default_rng(3).beta(6, 2.5, 500)
    votes = score_world(skills, texts=4000, pairs=17_000, each=5).votes
    started = time.thread_time()
    for model in MODELS.values():
        model(votes)
    assert time.thread_time() - started < 10
