"""The population of raters, and the log-gamma function behind it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandwiching.reward_model.reliability.population import START, Population, learned_population, log_gamma


@given(st.floats(1e-3, 1e5))
def test_log_gamma_is_that_of_the_standard_library(x):
    assert log_gamma(np.array([x]))[0] == pytest.approx(math.lgamma(x), rel=1e-10, abs=1e-10)


@pytest.mark.parametrize(("mean", "strength"), [(0.7, 10.0), (0.8, 3.0), (0.6, 60.0)])
def test_a_planted_population_is_learned(mean, strength):
    random = np.random.default_rng(0)
    skill_K = random.beta(mean * strength, (1 - mean) * strength, 400)
    count_K = random.integers(20, 200, 400)
    right_K = random.binomial(count_K, skill_K).astype(float)
    found = learned_population(right_K, count_K.astype(float) - right_K)
    planted = Population(mean, strength)
    assert found.mean == pytest.approx(planted.mean, abs=0.02)
    assert found.spread == pytest.approx(planted.spread, rel=0.15)


def test_the_mean_stays_above_chance_whatever_the_raters_do():
    assert learned_population(np.full(20, 10.0), np.full(20, 90.0)).mean > 0.5
    assert learned_population(np.zeros(3), np.zeros(3)) == START
    with pytest.raises(ValueError, match="a population needs a mean"):
        Population(0.4, 5.0)
