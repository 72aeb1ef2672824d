"""The rate of false alarms that a threshold promises is the one that it has."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandwiching.configs.monitor_block import fewest_samples
from sandwiching.oversight.monitors.auroc import UndefinedError
from sandwiching.oversight.monitors.thresholds import flags, threshold


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1, 0.25])
def test_false_alarms_on_exchangeable_values_are_at_most_the_rate_and_near_it(rate: float) -> None:
    rng, count = np.random.default_rng(0), 119
    alarms = [rng.normal() > threshold(rng.normal(size=count), rate) for _ in range(20000)]
    expected = math.floor(rate * (count + 1)) / (count + 1)
    error = 4 * math.sqrt(expected / 20000)
    assert expected - error <= np.mean(alarms) <= rate + error


@given(st.floats(0.005, 0.25))
def test_the_fewest_samples_are_enough_and_one_less_is_not(rate: float) -> None:
    count = fewest_samples(rate)
    assert threshold(np.arange(count, dtype=float), rate) == count - 1
    with pytest.raises(ValueError, match=rf"takes at least {count} samples .* there are {count - 1} on dev"):
        threshold(np.arange(count - 1, dtype=float), rate)


def test_equal_values_raise_no_alarm() -> None:
    assert not (np.ones(5) > threshold(np.ones(40), 0.05)).any()


def test_each_item_is_flagged_by_the_samples_of_other_groups() -> None:
    rng, groups = np.random.default_rng(1), [f"g{place // 2}" for place in range(20)]
    values = rng.normal(size=(3, 20, 4))
    values[2] += 2
    found = flags(values, groups, 0.1)
    for item, group in enumerate(groups):
        others = values[0, [other != group for other in groups]].ravel()
        np.testing.assert_array_equal(found[:, item], values[:, item] > threshold(others, 0.1))
    assert found[2].mean() > 0.5


def test_samples_of_new_prompts_are_flagged_at_the_rate() -> None:
    """Where prompts differ more than their samples: the first point is flagged as seldom as was declared."""
    rng, shares = np.random.default_rng(2), []
    for _ in range(200):
        values = rng.normal(size=(1, 40, 1)) + 0.2 * rng.normal(size=(1, 40, 3))
        shares.append(flags(values, [f"g{place}" for place in range(40)], 0.1).mean())
    assert 0.07 <= np.mean(shares) <= 0.115


def test_values_that_are_not_numbers_are_flagged_and_never_calibrate() -> None:
    values = np.zeros((2, 10, 3))
    values[1, 4] = [math.nan, math.inf, 1e30]
    found = flags(values, list("abcdefghij"), 0.1)
    assert found[1, 4].all()
    assert found.sum() == 3
    values[0, 0, 0] = math.nan
    with pytest.raises(UndefinedError, match="1 of 27 values of the SFT policy are not numbers"):
        flags(values, list("abcdefghij"), 0.1)
