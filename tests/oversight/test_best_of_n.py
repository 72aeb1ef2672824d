"""Best-of-n against every subset, ties drawn among, and its KL."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandwiching.oversight.best_of_n import Pool, best_of_n, best_of_n_rows, best_shares, kl_bound, sizes


def brute_force(scores, values, n):
    """Mean over all subsets of the value of the highest, level ones by equal chance."""
    best = []
    for subset in combinations(range(len(scores)), n):
        top = max(scores[place] for place in subset)
        best.append(np.mean([values[place] for place in subset if scores[place] == top]))
    return np.mean(best)


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(-2, 2)), min_size=1, max_size=7), st.data())
def test_it_is_the_mean_over_all_subsets(drawn, data):
    scores, values = (np.array(column, dtype=float) for column in zip(*drawn, strict=True))
    n = data.draw(st.integers(1, len(drawn)))
    assert best_of_n(scores, values, n) == pytest.approx(brute_force(scores, values, n), abs=1e-12)


def test_it_is_unbiased_for_new_samples():
    """Of pools of 4, the best of 2 is worth what the best of 2 fresh samples is."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(20_000, 4))
    values = scores + rng.normal(size=scores.shape)
    fresh = rng.normal(size=(20_000, 2)).max(1)
    assert best_of_n(scores, values, 2).mean() == pytest.approx(fresh.mean(), abs=0.03)


def test_n_beyond_the_samples_is_refused():
    with pytest.raises(ValueError, match="best of 5: there are 4 samples, so n must be from 1 to 4"):
        best_shares(np.zeros(4), 5)


def test_kl_is_that_of_the_best_of_n_without_ties():
    """Over 400 equally likely answers of different score, KL from the uniform distribution."""
    n, count = 4, 400
    edges = np.arange(count + 1) / count
    chosen = edges[1:] ** n - edges[:-1] ** n
    assert kl_bound(n) == pytest.approx(math.log(4) - 0.75)
    assert (chosen * np.log(chosen * count)).sum() == pytest.approx(kl_bound(n), rel=1e-2)
    assert (chosen * np.log(chosen * count)).sum() <= kl_bound(n)


def test_rows_start_at_the_floor():
    rng = np.random.default_rng(1)
    score = rng.normal(size=(2, 30, 4))
    right = (rng.random(score.shape) < 0.3 + 0.4 * (score > 0)).astype(float)
    groups = [f"g{place // 2}" for place in range(30)]
    rows = best_of_n_rows(Pool(score, right, 1 - right), groups, 0.95)
    assert [row.n for row in rows] == [1, 2, 3, 4]
    assert rows[0].free.estimate == pytest.approx(right.mean())
    assert rows[0].gain_free.estimate == pytest.approx(0, abs=1e-12)
    assert rows[0].kl_bound == 0
    assert rows[3].free.estimate == pytest.approx(np.take_along_axis(right, score.argmax(2)[..., None], 2).mean())
    assert rows[3].gain_free.estimate == pytest.approx(rows[3].free.estimate - right.mean())
    assert sizes(20) == [1, 2, 3, 4, 5, 6, 7, 8, 16, 20]
