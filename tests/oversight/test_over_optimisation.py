"""Gao's forms recover what was planted, and say where they cannot."""

import math

import numpy as np
import pytest

from sandwiching.oversight.best_of_n import Pool, best_of_n_rows
from sandwiching.oversight.distance_plot import distance_figure
from sandwiching.oversight.fooling import TooFewError
from sandwiching.oversight.over_optimisation import basis, gao_fit
from sandwiching.oversight.plots import save
from sandwiching.oversight.trails import Trail

GROUPS = [f"g{place // 3}" for place in range(60)]
REACH = np.linspace(1, 8, 8)


def runs(rng, form, a, b, reach=REACH, noise=0.1, seeds=5):
    """Distances [S, T] that differ a little between runs, and gains [S, T, N] around the planted curve."""
    distance = reach * rng.uniform(0.95, 1.05, (seeds, 1))
    gain = basis(distance, form) @ np.array([a, b])
    by_seed, by_item = rng.normal(size=(seeds, 1, 1)), rng.normal(size=(1, 1, 60))
    alone = rng.normal(size=(seeds, len(reach), 60))
    return distance, gain[..., None] + noise * (0.3 * by_seed + by_item) * distance[..., None] / 4 + noise * alone


@pytest.mark.parametrize(
    ("form", "a", "b", "peak"), [("rl", 0.6, 0.25, math.exp(0.6 / 0.25 - 1)), ("best of n", 0.5, 0.05, 5.0)]
)
def test_planted_curves_are_recovered_with_their_peak(form, a, b, peak):
    distance, gain = runs(np.random.default_rng(0), form, a, b)
    found = gao_fit(distance, gain, GROUPS, form, 0.95)
    assert (found.a.estimate, found.b.estimate) == pytest.approx((a, b), rel=0.1)
    assert found.a.low < a < found.a.high
    assert found.b.low < b < found.b.high
    assert found.peak is not None
    assert found.peak.reached
    assert found.peak.distance == pytest.approx(peak, rel=0.05)
    assert found.peak.low < peak < found.peak.high
    assert found.said.startswith(f"{found.peak.distance:.2f} [")


def test_without_noise_the_numbers_are_exact():
    distance, gain = runs(np.random.default_rng(1), "rl", 0.6, 0.25, noise=0.0)
    found = gao_fit(distance, gain, GROUPS, "rl", 0.95)
    assert (found.a.estimate, found.b.estimate) == pytest.approx((0.6, 0.25))
    assert found.points == 8


def test_a_peak_beyond_what_was_seen_is_not_reached():
    distance, gain = runs(np.random.default_rng(2), "best of n", 0.5, 0.05, reach=np.linspace(0.2, 2, 8), noise=0.01)
    found = gao_fit(distance, gain, GROUPS, "best of n", 0.95)
    assert found.peak is not None
    assert found.peak.distance == pytest.approx(5, rel=0.3)
    assert not found.peak.reached
    assert found.said.startswith(f"not reached up to {found.furthest:.2f}")


def test_a_curve_that_does_not_turn_has_no_peak():
    distance, gain = runs(np.random.default_rng(3), "rl", 0.5, -0.1, noise=0.01)
    found = gao_fit(distance, gain, GROUPS, "rl", 0.95)
    assert found.peak is None
    assert found.said.startswith("not reached")


def test_gold_that_falls_from_the_start_says_so():
    distance, gain = runs(np.random.default_rng(4), "best of n", -0.2, 0.05, noise=0.01)
    assert gao_fit(distance, gain, GROUPS, "best of n", 0.95).said == "falls from the start"


def test_the_rl_form_turns_below_one_where_a_is_negative():
    """It rises from 0 whatever a is: d (a - b log d) with a = -.1 and b = .5 is .15 at .3, its peak."""
    distance, gain = runs(np.random.default_rng(10), "rl", -0.1, 0.5, reach=np.linspace(0.1, 0.9, 8), noise=0.01)
    found = gao_fit(distance, gain, GROUPS, "rl", 0.95)
    assert found.peak is not None
    assert found.peak.reached
    assert found.peak.low < math.exp(-0.1 / 0.5 - 1) < found.peak.high
    assert found.peak.distance == pytest.approx(math.exp(-1.2), rel=0.05)


def test_limits_that_the_data_do_not_bound_are_not_reached():
    """The mean curve turns at 5, but groups differ so much in how they bend that the turn may be anywhere."""
    distance, gain = runs(np.random.default_rng(5), "best of n", 0.5, 0.05, reach=np.linspace(1, 6, 4), noise=0.0)
    bend = np.repeat(np.random.default_rng(6).normal(size=20), 3)
    gain = gain + (distance**2)[..., None] * (bend - bend.mean()) / 2
    found = gao_fit(distance, gain, GROUPS, "best of n", 0.95)
    assert found.peak is not None
    assert found.b.low < 0 < found.b.high
    assert found.peak.distance == pytest.approx(5)
    assert found.peak.high == math.inf
    assert found.said.endswith("not reached]")


def test_checkpoints_are_no_observations_of_their_own():
    """The same checkpoint ten times tells nothing new."""
    distance, gain = runs(np.random.default_rng(6), "rl", 0.6, 0.25)
    once = gao_fit(distance, gain, GROUPS, "rl", 0.95)
    often = gao_fit(np.repeat(distance, 10, axis=1), np.repeat(gain, 10, axis=1), GROUPS, "rl", 0.95)
    assert (often.a.low, often.a.high) == pytest.approx((once.a.low, once.a.high))


def test_near_the_floor_the_rl_form_is_not_fitted_where_there_is_enough_beyond():
    distance, gain = runs(np.random.default_rng(7), "rl", 0.6, 0.25, reach=np.array([0.1, 0.3, 1.5, 2.5, 4.0]))
    assert gao_fit(distance, gain, GROUPS, "rl", 0.95).points == 3
    assert gao_fit(distance, gain, GROUPS, "best of n", 0.95).points == 5


def test_too_few_checkpoints_say_how_many():
    distance, gain = runs(np.random.default_rng(8), "rl", 0.6, 0.25, reach=np.array([2.0]))
    with pytest.raises(
        TooFewError, match=r"1 points away from the floor, and a fit takes 2; lower ppo\.snapshot_every"
    ):
        gao_fit(distance, gain, GROUPS, "rl", 0.95)


def test_the_picture_has_a_mark_a_snapshot_and_a_line_a_fit(tmp_path):
    rng = np.random.default_rng(9)
    distance, gain = runs(rng, "rl", 0.6, 0.25)
    distance, gain = np.pad(distance, ((0, 0), (1, 0))), np.pad(gain, ((0, 0), (1, 0), (0, 0)))
    one = Trail(list(range(9)), distance**2, 1 - gain, gain, gain, gain, gain)
    rows = best_of_n_rows(Pool(gain[..., None].repeat(4, 3)[:, 1], *[rng.random((5, 60, 4))] * 2), GROUPS, 0.95)
    fit = gao_fit(distance[:, 1:], gain[:, 1:], GROUPS, "rl", 0.95)
    figure = distance_figure({"weak": one}, {"weak": rows}, {"weak": {"PPO, proxy": fit}})
    proxy, forced, free = figure.axes
    assert [np.size(line.get_xdata()) for line in proxy.lines] == [9, 100, 4, 2]
    assert [np.size(line.get_xdata()) for line in forced.lines] == [9, 2]
    assert [np.size(line.get_xdata()) for line in free.lines] == [9, 4, 2]
    save(figure, tmp_path / "one.svg")
    assert (tmp_path / "one.svg").stat().st_size > 1000
