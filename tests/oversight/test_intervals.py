"""Intervals against fixtures worked out by hand, brute force, and simulated nulls."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandwiching.oversight.intervals import fieller, mean_interval, ratio_set, share_interval
from sandwiching.oversight.spread import spread
from sandwiching.reward_model.reliability.student_t import t_critical

SIMULATIONS = 1000


def names(sizes):
    return [f"g{index}" for index, size in enumerate(sizes) for _ in range(size)]


def simulate(rng, sizes, seeds, *, group, seed, both, item):
    """Values [S, N] around 0 from a crossed random-effects model; arguments are standard deviations."""
    index = np.repeat(np.arange(len(sizes)), sizes)
    cells = group * rng.standard_normal((1, len(sizes))) + both * rng.standard_normal((seeds, len(sizes)))
    return cells[:, index] + seed * rng.standard_normal((seeds, 1)) + item * rng.standard_normal((seeds, len(index)))


@pytest.mark.parametrize(
    ("df", "expected"), [(1, 12.7062), (2, 4.30265), (4, 2.77645), (9.5, 2.24409), (30, 2.04227), (1e7, 1.95996)]
)
def test_t_critical_matches_tables(df, expected):
    assert t_critical(0.95, df) == pytest.approx(expected, rel=1e-4)


def test_one_seed_with_equal_groups_is_the_t_interval_of_group_means():
    means = np.array([0.1, 0.5, 0.6, 0.9])
    values = (means[:, None] + np.array([-0.2, 0.0, 0.2])).reshape(1, -1)
    found = mean_interval(values, names([3, 3, 3, 3]))
    half = 3.18245 * means.std(ddof=1) / 2
    assert (found.low, found.high) == pytest.approx((0.525 - half, 0.525 + half), abs=1e-5)
    assert found.df == pytest.approx(3)
    assert found.covers == "covers prompts, not training runs"


def test_more_items_of_one_group_add_nothing():
    values = np.array([[0.0, 1.0, 1.0, 0.5]])
    repeated = np.repeat(values, 50, axis=1)
    once = mean_interval(values, names([1] * 4))
    assert mean_interval(repeated, names([50] * 4)).low == pytest.approx(once.low)


def test_unequal_groups_match_the_cr2_formula():
    sizes = np.array([1, 2, 5, 4])
    values = np.array([[0.3, 0.1, 0.8, 1.0, 0.0, 0.2, 0.4, 0.9, 0.7, 0.5, 0.2, 0.1]])
    groups = np.array(names(sizes))
    mean, variance = values.mean(), 0.0
    for name in np.unique(groups):
        share = np.mean(groups == name)
        variance += (share * (values[0, groups == name].mean() - mean)) ** 2 / (1 - share)
    found = mean_interval(values, list(groups))
    assert found.df == pytest.approx(144 / (1 + 4 + 25 + 16) - 1)
    assert found.high - mean == pytest.approx(t_critical(0.95, found.df) * math.sqrt(variance))


def test_crossed_mean_squares_match_textbook_sums():
    values = np.array([[1.0, 2.0, 4.0], [2.0, 2.5, 3.0]])
    found = spread(values[:, :, None], ["a", "b", "c"])
    by_group = 2 * ((values.mean(0) - values.mean()) ** 2).sum() / 2
    by_seed = 3 * ((values.mean(1) - values.mean()) ** 2).sum()
    residual = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
    assert found.by_group_KK.item() == pytest.approx(by_group)
    assert found.by_seed_KK.item() == pytest.approx(by_seed)
    assert found.by_both_KK.item() == pytest.approx((residual**2).sum() / 2)
    # The seed component is negative here and left out.
    assert found.covariance().item() == pytest.approx(max(by_group, found.by_both_KK.item()) / 6)


@pytest.mark.parametrize(
    ("sizes", "seeds", "effects"),
    [
        ([4] * 40, 1, {"group": 0.5, "seed": 0.0, "both": 0.0, "item": 1.0}),
        (list(range(1, 13)), 1, {"group": 1.0, "seed": 0.0, "both": 0.0, "item": 1.0}),
        ([5, 10, 20, 40, 60, 80, 100, 200], 1, {"group": 1.0, "seed": 0.0, "both": 0.0, "item": 1.0}),
        ([4] * 40, 5, {"group": 0.5, "seed": 0.2, "both": 0.2, "item": 1.0}),
        ([1, 2, 3, 4, 5, 6] * 4, 5, {"group": 0.5, "seed": 0.5, "both": 0.3, "item": 1.0}),
        ([2] * 12, 10, {"group": 0.5, "seed": 0.1, "both": 0.5, "item": 0.5}),
    ],
)
def test_null_is_covered_at_the_stated_level(sizes, seeds, effects):
    rng = np.random.default_rng(2)
    groups = names(sizes)
    found = [mean_interval(simulate(rng, sizes, seeds, **effects), groups) for _ in range(SIMULATIONS)]
    assert 0.93 <= np.mean([one.low <= 0 <= one.high for one in found]) <= 0.97


def test_without_any_seed_or_group_effect_the_interval_errs_wide():
    rng = np.random.default_rng(3)
    effects = {"group": 0.0, "seed": 0.0, "both": 0.0, "item": 1.0}
    found = [mean_interval(simulate(rng, [4] * 30, 5, **effects), names([4] * 30)) for _ in range(SIMULATIONS)]
    assert np.mean([one.low <= 0 <= one.high for one in found]) >= 0.95


def test_pooling_seeds_as_if_they_were_items_would_not_cover():
    """The reason for the crossed unit: runs of one seed move together."""
    rng = np.random.default_rng(4)
    sizes, groups = [4] * 40, names([4] * 40)
    effects = {"group": 0.2, "seed": 0.4, "both": 0.0, "item": 1.0}
    pooled = [
        mean_interval(simulate(rng, sizes, 5, **effects).mean(0, keepdims=True), groups) for _ in range(SIMULATIONS)
    ]
    assert np.mean([one.low <= 0 <= one.high for one in pooled]) < 0.8


def test_fieller_fixtures():
    tight = fieller(0.5, 1.0, np.diag([0.01, 0.0]), 2.0)
    assert (tight.kind, tight.low, tight.high) == ("bounded", pytest.approx(0.3), pytest.approx(0.7))
    # (.2 - r)^2 <= 4 (.01 + .01 r^2): .96 r^2 - .4 r <= 0
    joint = fieller(0.2, 1.0, np.diag([0.01, 0.01]), 2.0)
    assert (joint.low, joint.high) == (pytest.approx(0.0), pytest.approx(0.4 / 0.96))
    outside = fieller(1.0, 0.1, np.diag([0.01, 0.01]), 2.0)
    assert outside.kind == "complement"
    assert 0.0 not in outside
    assert 50.0 in outside
    assert -50.0 in outside
    assert fieller(0.05, 0.05, np.diag([0.01, 0.01]), 2.0).kind == "unbounded"


def test_negative_ratios_are_not_clipped():
    found = fieller(-0.5, 1.0, np.diag([0.0001, 0.0001]), 2.0)
    assert found.estimate == -0.5
    assert found.high < -0.4


@given(
    st.floats(-1, 1),
    st.floats(-1, 1),
    st.floats(0.01, 0.5),
    st.floats(0.01, 0.5),
    st.floats(-0.9, 0.9),
    st.floats(-20, 20),
)
def test_fieller_is_the_set_of_ratios_not_rejected(top, bottom, sd_top, sd_bottom, correlation, ratio):
    cross = correlation * sd_top * sd_bottom
    covariance = np.array([[sd_top**2, cross], [cross, sd_bottom**2]])
    distance = (top - ratio * bottom) ** 2
    allowed = 4 * (sd_top**2 - 2 * ratio * cross + ratio**2 * sd_bottom**2)
    if abs(distance - allowed) > 1e-6 * (1 + ratio**2):
        assert (ratio in fieller(top, bottom, covariance, 2.0)) == (distance < allowed)


@pytest.mark.parametrize(("seeds", "bottom"), [(1, 0.3), (1, 0.05), (5, 0.3)])
def test_ratio_set_covers_the_true_ratio(seeds, bottom):
    rng = np.random.default_rng(5)
    sizes, groups = [3] * 30, names([3] * 30)
    effects = {"group": 0.3, "seed": 0.05 if seeds > 1 else 0.0, "both": 0.05, "item": 0.5}
    found = []
    for _ in range(SIMULATIONS):
        denominator = bottom + simulate(rng, sizes, seeds, **effects)
        numerator = 0.4 * bottom + 0.5 * (denominator - bottom) + simulate(rng, sizes, seeds, **effects) / 2
        found.append(ratio_set(numerator, denominator, groups))
    assert 0.93 <= np.mean([0.4 in one for one in found]) <= 0.98
    if bottom < 0.1:
        assert any(one.kind == "unbounded" for one in found)


def test_one_group_gives_no_interval():
    found = mean_interval(np.array([[0.0, 1.0]]), ["a", "a"])
    assert (found.estimate, found.low, found.high) == (0.5, -math.inf, math.inf)
    with pytest.raises(ValueError, match="at least two groups"):
        spread(np.zeros((1, 2, 1)), ["a", "a"])


def test_missing_values_are_refused():
    with pytest.raises(ValueError, match="finite values"):
        mean_interval(np.array([[0.0, math.nan]]), ["a", "b"])


def test_a_share_has_limits_inside_its_range_and_near_the_middle_those_of_a_mean():
    rng = np.random.default_rng(0)
    for level, near in ((0.5, 0.01), (0.03, 1.0), (0.97, 1.0)):
        values = (rng.random((3, 200)) < level).astype(float)
        mean, share = (one(values, names([4] * 50)) for one in (mean_interval, share_interval))
        assert share.estimate == mean.estimate
        assert 0 < share.low < share.estimate < share.high < 1
        assert (share.low, share.high) == pytest.approx((mean.low, mean.high), abs=near)
        # Further towards the middle than towards the end.
        assert (share.high - share.estimate > share.estimate - share.low) == (share.estimate < 0.5)


def test_a_share_is_that_of_its_complement():
    values = (np.random.default_rng(1).random((2, 40)) < 0.1).astype(float)
    share, rest = share_interval(values, names([2] * 20)), share_interval(1 - values, names([2] * 20))
    assert (share.low, share.high) == pytest.approx((1 - rest.high, 1 - rest.low))


def test_a_share_at_an_end_is_as_uncertain_as_that_of_so_many_trials():
    """Of 20 trials without success at most .1684 (Clopper and Pearson)."""
    groups = names([3] * 20)
    none, all_of_them = (share_interval(np.full((2, 60), end), groups) for end in (0.0, 1.0))
    assert (none.low, none.high) == (0, pytest.approx(0.1684, abs=1e-4))
    assert (all_of_them.low, all_of_them.high) == (pytest.approx(1 - 0.1684, abs=1e-4), 1)


def test_a_share_of_one_group_has_no_limits():
    found = share_interval(np.array([[0.0, 1.0]]), ["a", "a"])
    assert (found.low, found.high) == (-math.inf, math.inf)


def test_a_share_that_is_hardly_seen_has_limits_all_the_same():
    values = np.zeros((2, 400))
    values[0, 0] = 1e-5
    found = share_interval(values, names([4] * 100))
    assert 0 <= found.low <= found.estimate <= found.high <= 1
