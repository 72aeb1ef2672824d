"""Agreement without experts: against loops, under chance, and unchanged by how pairs are turned."""

import itertools

import numpy as np
import pytest

from sandwiching.reward_model.reliability.consistency import (
    clustered_mean,
    krippendorff_alpha,
    permutation_p,
    split_half,
)
from sandwiching.reward_model.reliability.student_t import t_critical
from sandwiching.reward_model.reliability.votes import Votes


def shuffled(votes, seed):
    """Each rater's clicks on other of the rater's own pairs."""
    random = np.random.default_rng(seed)
    sign_E = votes.sign_E.copy()
    for rater in range(votes.raters):
        own = np.flatnonzero(votes.rater_E == rater)
        clicks = np.where(votes.turned_E[own], -sign_E[own], sign_E[own])
        clicks = random.permutation(clicks)
        sign_E[own] = np.where(votes.turned_E[own], -clicks, clicks)
    return Votes(votes.pair_E, votes.rater_E, sign_E, votes.turned_E, votes.first_P, votes.second_P, votes.raters)


def test_alpha_by_its_definition(coin_world):
    votes = coin_world(np.full(7, 0.75), pairs=30, each=4, ties=0.3).votes
    units = [votes.sign_E[votes.pair_E == pair] for pair in range(votes.pairs)]
    observed = np.mean([
        np.mean([(a - b) ** 2 for a, b in itertools.permutations(unit, 2)]) for unit in units
    ])  # fmt: skip
    both_ways = np.concatenate([*units, *(-unit for unit in units)])
    expected = np.mean([(a - b) ** 2 for a, b in itertools.permutations(both_ways, 2)])
    assert krippendorff_alpha(votes) == pytest.approx(1 - observed / expected)


def test_alpha_at_its_ends():
    def votes(signs):
        pair_E, rater_E = np.repeat(np.arange(len(signs)), 2), np.tile([0, 1], len(signs))
        first_P = 2 * np.arange(len(signs))
        return Votes(
            pair_E, rater_E, np.ravel(signs) * 1.0, np.zeros(2 * len(signs), dtype=bool), first_P, first_P + 1, 2
        )

    assert krippendorff_alpha(votes([(1, 1), (-1, -1), (0, 0)])) == 1
    alpha = krippendorff_alpha(votes([(1, -1), (-1, 1)]))
    assert alpha is not None
    assert alpha < -0.4
    assert krippendorff_alpha(votes([(0, 0), (0, 0)])) is None


def test_split_half_is_high_with_signal_and_half_by_chance(coin_world):
    votes = coin_world(np.full(20, 0.9), pairs=500, each=6, ties=0.1).votes
    own = np.arange(votes.pairs)
    good, chance = split_half(votes, own, seed=0), split_half(shuffled(votes, 1), own, seed=0)
    assert good is not None
    assert chance is not None
    assert good.low > 0.85
    assert good.decided is not None
    assert good.decided > good.agreement
    assert chance.low < 0.5 < chance.high


def test_permutation_finds_signal_and_no_more_than_chance_without(coin_world):
    votes = coin_world(np.full(12, 0.65), pairs=200, each=4).votes
    assert permutation_p(votes, seed=0, permutations=99) == 0.01
    p = np.array([permutation_p(shuffled(votes, seed), seed, permutations=39) for seed in range(60)], dtype=float)
    assert 0.35 < p.mean() < 0.65
    assert (p <= 0.1).mean() < 0.25


def test_a_habit_of_clicking_left_is_no_signal():
    random = np.random.default_rng(0)
    pairs, raters = 400, 4
    pair_E, rater_E = np.repeat(np.arange(pairs), raters), np.tile(np.arange(raters), pairs)
    turned_E = np.repeat(random.random(pairs) < 0.5, raters)  # all see a pair the same way around
    left_E = random.random(len(pair_E)) < 0.9
    sign_E = np.where(left_E, 1.0, -1.0) * np.where(turned_E, -1.0, 1.0)
    first_P = 2 * np.arange(pairs)
    votes = Votes(pair_E, rater_E, sign_E, turned_E, first_P, first_P + 1, raters)
    found = split_half(votes, np.arange(pairs), seed=0)
    assert found is not None
    assert found.low > 0.7
    p = permutation_p(votes, seed=0, permutations=99)
    assert p is not None
    assert p > 0.05


def test_without_overlap_there_is_nothing_to_say():
    votes = Votes(
        np.arange(3), np.arange(3), np.ones(3), np.zeros(3, dtype=bool), 2 * np.arange(3), 2 * np.arange(3) + 1, 3
    )
    assert split_half(votes, np.arange(3), 0) is None
    assert krippendorff_alpha(votes) is None
    assert permutation_p(votes, 0, 9) is None


def test_the_mean_of_pairs_that_are_groups_of_their_own_has_its_usual_interval():
    value = np.random.default_rng(0).random(40)
    mean, half, groups = clustered_mean(value, np.random.default_rng(1).permutation(40))
    assert (mean, groups) == (pytest.approx(value.mean()), 40)
    assert half == pytest.approx(2.0227 * value.std(ddof=1) / np.sqrt(40), rel=1e-4)


def test_copies_of_a_group_say_nothing_new():
    value = np.random.default_rng(0).random(12)
    alone, copied = (
        clustered_mean(value, np.arange(12)),
        clustered_mean(np.repeat(value, 9), np.repeat(np.arange(12), 9)),
    )
    assert copied == pytest.approx(alone)
    assert clustered_mean(value, np.zeros(12, dtype=int))[1] == np.inf


def test_the_interval_covers_where_pairs_of_a_prompt_share_their_difficulty():
    """By pairs alone it would hold the truth far less often than it says."""
    groups, each, covered, by_pairs = 12, 30, 0, 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        skill_P = np.repeat(random.uniform(0.5, 1.0, groups), each)
        pairs = len(skill_P)
        sign_E = np.where(random.random(2 * pairs) < np.repeat(skill_P, 2), 1.0, -1.0)
        first_P = 2 * np.arange(pairs)
        pair_E, rater_E = np.repeat(np.arange(pairs), 2), np.tile([0, 1], pairs)
        votes = Votes(pair_E, rater_E, sign_E, np.zeros(2 * pairs, dtype=bool), first_P, first_P + 1, 2)
        truth = 2 / 3  # the mean of p^2 + (1 - p)^2 for p uniform in .5..1
        found = split_half(votes, np.repeat(np.arange(groups), each), seed=0, splits=1)
        alone = split_half(votes, np.arange(pairs), seed=0, splits=1)
        assert found is not None
        assert alone is not None
        covered += found.low <= truth <= found.high
        by_pairs += alone.low <= truth <= alone.high
    assert covered >= 180
    assert by_pairs < 170


@pytest.mark.parametrize(("df", "expected"), [(1, 12.7062), (2, 4.30265), (12, 2.17881), (100, 1.98397)])
def test_quantiles_of_student(df, expected):
    assert t_critical(0.95, df) == pytest.approx(expected, rel=1e-5)
