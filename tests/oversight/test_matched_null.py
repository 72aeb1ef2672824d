"""Two arms compared where they are equally far from the floor."""

import numpy as np
import pytest

from sandwiching.oversight.fooling import TooFewError, both_wrong
from sandwiching.oversight.matched_null import at_distance, matched_null
from sandwiching.oversight.trails import Trail, trail

GROUPS = [f"g{place // 3}" for place in range(360)]
SEEDS = 3


def along(rng, distances, rate, gains=None):
    """Everything is wrong; wrong answers are approved .3 + rate x distance of the time."""
    distance_ST = np.array([distances] * SEEDS) * np.linspace(0.9, 1.1, SEEDS)[:, None]
    shape = (*distance_ST.shape, len(GROUPS))
    chance = 0.3 + rate * distance_ST[..., None]
    approved = rng.binomial(8, np.broadcast_to(chance, shape)) / 8
    wrong = np.ones(shape)
    return Trail(list(range(len(distances))), distance_ST**2, wrong, approved, wrong * approved, wrong, wrong)


def test_arms_that_fool_alike_at_equal_distance_do_not_differ_though_one_went_further():
    rng = np.random.default_rng(0)
    arm, null = along(rng, [0, 1, 2, 3], 0.1), along(rng, [0, 0.7, 1.3], 0.1)
    found = matched_null(arm, null, GROUPS, 0.95)
    assert found.difference.low < 0 < found.difference.high
    assert found.arm.estimate == pytest.approx(0.13, abs=0.02)
    last = both_wrong(arm.shares(0), arm.shares(3))
    assert last[0].mean() == pytest.approx(0.3, abs=0.02)
    assert found.kl == pytest.approx([(1.3 * scale) ** 2 for scale in (0.9, 1.0, 1.1)])
    assert found.kl_arm == pytest.approx([(3 * scale) ** 2 for scale in (0.9, 1.0, 1.1)])
    assert found.kl_null == found.kl


def test_fooling_beyond_the_null_is_found():
    rng = np.random.default_rng(1)
    found = matched_null(along(rng, [0, 1, 2, 3], 0.1), along(rng, [0, 1, 2], 0.03), GROUPS, 0.95)
    assert found.difference.low < 0.14 < found.difference.high
    assert found.difference.low > 0


def test_between_snapshots_it_is_interpolated_in_the_square_root_of_kl():
    rng = np.random.default_rng(2)
    one = along(rng, [0, 1, 2], 0.1)
    half = at_distance(one, one.distance_ST[:, 1] * 0.25 + one.distance_ST[:, 2] * 0.75)
    points = [both_wrong(one.shares(0), one.shares(point)) for point in (1, 2)]
    for column in (0, 1):
        np.testing.assert_allclose(half[column], 0.25 * points[0][column] + 0.75 * points[1][column], atol=1e-12)
    np.testing.assert_allclose(at_distance(one, one.distance_ST[:, 2])[0], points[1][0], atol=1e-12)


def test_a_run_that_never_left_the_floor_says_so():
    rng = np.random.default_rng(3)
    with pytest.raises(TooFewError, match="KL of a run is 0 at every snapshot"):
        matched_null(along(rng, [0, 1], 0.1), along(rng, [0, 0], 0.1), GROUPS, 0.95)


def test_a_trail_of_a_record():
    point = {"updates": 2, "kl": [[1.0, 3.0]], "correct": [[True, False]], "forced": [1.0], "approved": [[0.5, 1.0]]}
    start = {**point, "updates": 0, "kl": [[0.0, 0.0]]}
    record = {"seeds": [4], "points": {"weak/seed4": [start, point]}, "rewards": {"weak/seed4": [[[0, 1]], [[1, 2]]]}}
    found = trail(record, "weak")
    assert found.updates == [0, 2]
    np.testing.assert_allclose(found.kl_ST, [[0, 2]])
    assert found.shares(1).approved_wrong.item() == 0.5
    assert found.shares(1).approved_right.item() == 0.25
    np.testing.assert_allclose(found.reward_STN, [[[0.5], [1.5]]])
