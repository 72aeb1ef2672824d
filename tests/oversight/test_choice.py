"""Choice among candidates, the first being right."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandwiching.oversight.choice import chosen_right, pairs_right

SCORES = st.lists(st.sampled_from([-1e4, -50.0, -3.25, -3.0, 0.0]), min_size=2, max_size=6)


@pytest.mark.parametrize(
    ("scores", "choice", "pairs"),
    [
        ([-1.0, -2.0, -3.0], 1.0, 1.0),
        ([-2.0, -1.0, -3.0], 0.0, 0.5),
        ([-1.0, -1.0, -3.0], 0.5, 0.75),
        ([-1.0, -1.0, -1.0, -1.0], 0.25, 0.5),
        ([-9.0, -1.0], 0.0, 0.0),
    ],
)
def test_fixtures(scores, choice, pairs):
    assert (chosen_right(scores), pairs_right(scores)) == (choice, pairs)


@given(SCORES)
def test_choosing_right_means_losing_no_pair(scores):
    assert (chosen_right(scores) > 0) == (scores[0] == max(scores))
    assert (chosen_right(scores) == 1) == (pairs_right(scores) == 1)


def test_blind_scores_reach_chance():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(4000, 4))
    assert np.mean([chosen_right(row) for row in scores]) == pytest.approx(0.25, abs=0.03)
    assert np.mean([pairs_right(row) for row in scores]) == pytest.approx(0.5, abs=0.03)
