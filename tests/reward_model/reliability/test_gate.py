"""The gate: YES with signal, NO by chance, DUPLICATES where ratings are copied and not where raters merely agree."""

import numpy as np
import pytest

from sandwiching.reward_model.reliability.gate import judge_signal
from sandwiching.reward_model.reliability.repeated import copied_share
from sandwiching.reward_model.reliability.votes import Votes

PAIRS, RATERS = 400, 4


def rated(spread, noise, points, copied=0.0, seed=0, raters=RATERS):
    """Ratings of both texts of each pair [P, raters, 2] on 1..points; in a share of pairs all have the first's."""
    random = np.random.default_rng(seed)
    hardness = np.exp(0.5 * random.normal(size=(PAIRS, 1, 1)))
    value = (points + 1) / 2 + spread * random.normal(size=(PAIRS, 1, 2))
    value = value + noise * hardness * random.normal(size=(PAIRS, raters, 2))
    value = np.clip(np.round(value), 1, points)
    same = random.random(PAIRS) < copied
    value[same] = value[same][:, :1]
    return value


def as_votes(value, sign=None):
    pairs, raters, _ = value.shape
    pair_E, rater_E = np.repeat(np.arange(pairs), raters), np.tile(np.arange(raters), pairs)
    sign_E = np.sign(value[:, :, 0] - value[:, :, 1]).ravel() if sign is None else sign
    first_P = 2 * np.arange(pairs)
    votes = Votes(pair_E, rater_E, sign_E, np.zeros(len(pair_E), dtype=bool), first_P, first_P + 1, raters)
    return votes, value[:, :, 0].ravel(), value[:, :, 1].ravel()


def verdict(votes, first_E, second_E):
    return judge_signal(votes, np.arange(votes.pairs), first_E, second_E, permutations=199, max_p=0.01, seed=0)


def nothing(votes):
    return np.full(len(votes), np.nan), np.full(len(votes), np.nan)


HONEST = [(1.0, 1.0, 5), (1.5, 0.5, 5), (0.7, 0.7, 5), (2.0, 1.5, 10), (20.0, 10.0, 100), (0.7, 0.7, 3)]


@pytest.mark.parametrize(("spread", "noise", "points"), HONEST)
@pytest.mark.parametrize("raters", [2, 3, 5])
def test_raters_who_agree_have_not_copied(spread, noise, points, raters):
    found = verdict(*as_votes(rated(spread, noise, points, raters=raters)))
    assert found.verdict == "YES"
    assert "necessary, not sufficient" in found.sentence


@pytest.mark.parametrize(("spread", "noise", "points"), HONEST)
@pytest.mark.parametrize("copied", [0.15, 0.4, 1.0])
def test_copies_are_found_and_counted(spread, noise, points, copied):
    found = verdict(*as_votes(rated(spread, noise, points, copied)))
    if copied < 1:
        assert found.copied_pairs is not None
        assert found.copied_pairs.share == pytest.approx(copied, abs=0.06)
    assert found.verdict == "DUPLICATES"
    assert "identical scores" in found.sentence


def test_copies_without_any_signal_pass_every_other_test_and_are_found():
    value = rated(0.0, 1.5, 5, copied=0.5)
    votes, first_E, second_E = as_votes(value)
    assert verdict(votes, *nothing(votes)).verdict == "YES"
    assert verdict(votes, first_E, second_E).verdict == "DUPLICATES"


def test_copies_of_single_responses():
    value = rated(1.0, 1.0, 7)
    same = np.random.default_rng(0).random(PAIRS) < 0.4
    value[same, :, 0] = value[same, :1, 0]
    votes, first_E, second_E = as_votes(value)
    assert verdict(votes, first_E, second_E).verdict == "DUPLICATES"


def test_some_raters_without_ratings_and_constant_ratings():
    votes, first_E, second_E = as_votes(rated(1.0, 1.0, 5, copied=0.4))
    gone = np.random.default_rng(0).random(len(votes)) < 0.2
    first_E[gone] = second_E[gone] = np.nan
    assert verdict(votes, first_E, second_E).verdict == "DUPLICATES"
    constant = np.full(len(votes), 3.0)
    assert verdict(votes, constant, constant).verdict == "YES"
    assert copied_share(np.arange(3), np.arange(3), np.ones(3)) is None


def test_no_signal_says_no():
    random = np.random.default_rng(5)
    votes, *_ = as_votes(rated(1.0, 1.0, 5), random.choice([-1.0, 0.0, 1.0], PAIRS * RATERS))
    found = verdict(votes, *nothing(votes))
    assert found.verdict == "NO"
    assert "do not look" in found.sentence


def test_nobody_met_says_no_and_what_to_do():
    votes, *_ = as_votes(rated(1.0, 1.0, 5, raters=1))
    found = verdict(votes, *nothing(votes))
    assert (found.verdict, found.alpha, found.permutation_p, found.split_half) == ("NO", None, None, None)
    assert "let several raters judge" in found.sentence


def test_pairs_of_one_prompt_may_carry_a_signal_of_which_no_interval_tells_more():
    votes, *_ = as_votes(rated(1.0, 1.0, 5))
    nan = np.full(len(votes), np.nan)
    found = judge_signal(votes, np.zeros(PAIRS, dtype=int), nan, nan, permutations=199, max_p=0.01, seed=0)
    assert found.verdict == "YES"
    assert found.split_half is not None
    assert (found.split_half.low, found.split_half.high, found.split_half.groups) == (0, 1, 1)
