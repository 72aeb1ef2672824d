"""Who meets whom, against loops."""

import numpy as np
import pytest

from sandwiching.reward_model.reliability.overlap import overlap
from sandwiching.reward_model.reliability.votes import Votes


def make(cells, raters):
    pair_E, rater_E = np.array(cells).T
    first_P = 2 * np.arange(pair_E.max() + 1)
    return Votes(pair_E, rater_E, np.ones(len(cells)), np.zeros(len(cells), dtype=bool), first_P, first_P + 1, raters)


def test_by_hand():
    """Raters 0, 1, 2 meet in a chain, 3 and 4 by themselves, 5 nobody."""
    found = overlap(make([(0, 0), (0, 1), (1, 1), (1, 2), (2, 3), (2, 4), (3, 3), (3, 4), (4, 5), (5, 5)], 6))
    assert found.shared_K.tolist() == [1, 2, 1, 2, 2, 0]
    assert found.partners_K.tolist() == [1, 2, 1, 1, 1, 0]
    assert found.components == 2
    assert found.shared_pairs == 4
    assert found.effective_raters == pytest.approx(10**2 / (1 + 4 + 1 + 4 + 4 + 4))


def test_a_long_chain_is_one_component():
    cells = [(pair, rater) for pair in range(200) for rater in (pair, pair + 1)]
    assert overlap(make(cells, 201)).components == 1


def test_partners_by_a_loop(coin_world):
    votes = coin_world(np.full(12, 0.7), pairs=30, each=3).votes
    found = overlap(votes)
    for rater in range(votes.raters):
        mates = {
            int(other) for pair in votes.pair_E[votes.rater_E == rater] for other in votes.rater_E[votes.pair_E == pair]
        }
        assert found.partners_K[rater] == len(mates - {rater})


def test_votes_refuse_what_they_cannot_mean():
    with pytest.raises(ValueError, match="equally long"):
        Votes(np.array([0]), np.array([0, 0]), np.ones(1), np.zeros(1, dtype=bool), np.array([0]), np.array([1]), 1)
    with pytest.raises(ValueError, match="must be -1, 0 or 1"):
        Votes(np.array([0]), np.array([0]), np.full(1, 0.5), np.zeros(1, dtype=bool), np.array([0]), np.array([1]), 1)
    with pytest.raises(ValueError, match="rater_E must be codes from 0 to 0"):
        Votes(np.array([0]), np.array([1]), np.ones(1), np.zeros(1, dtype=bool), np.array([0]), np.array([1]), 1)
    with pytest.raises(ValueError, match="votes once on a pair"):
        make([(0, 0), (0, 0)], 1)
