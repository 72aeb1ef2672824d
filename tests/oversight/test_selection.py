"""Choosing the best of k by an expert result: the winner's curse is taken off."""

import math

import numpy as np
import pytest

from sandwiching.oversight.selection import out_of_bag, select, selection_nats

GROUPS = [f"g{place // 5}" for place in range(200)]


def candidates(rng: np.random.Generator, truth: list[float]) -> np.ndarray:
    """Shares right [K, 1, N]: items of a group share what makes them hard."""
    shared_G = rng.normal(0, 0.05, (len(truth), 40))
    chance_KN = np.clip(np.array(truth)[:, None] + np.repeat(shared_G, 5, axis=1), 0, 1)
    return (rng.random(chance_KN.shape) < chance_KN).astype(float)[:, None]


def test_nats_of_a_choice() -> None:
    assert selection_nats(1) == 0
    assert selection_nats(4) == pytest.approx(math.log(4) - 0.75)


def test_equal_candidates_show_more_than_they_are_worth() -> None:
    rng = np.random.default_rng(0)
    shown, corrected, covered = [], [], []
    for _ in range(60):
        found = select(candidates(rng, [0.5] * 8), GROUPS)
        shown.append(found.shown.estimate - 0.5)
        corrected.append(found.corrected - 0.5)
        covered.append(found.low <= 0.5 <= found.high)
    assert np.mean(shown) > 0.03
    assert abs(np.mean(corrected)) < 0.012
    assert np.mean(covered) > 0.9


def test_a_clear_winner_keeps_what_it_shows() -> None:
    found = select(candidates(np.random.default_rng(1), [0.3, 0.9, 0.3]), GROUPS)
    assert found.best == 1
    assert abs(found.optimism) < 0.005
    assert found.high - found.low == pytest.approx(found.shown.high - found.shown.low)


def test_the_smallest_can_be_the_best() -> None:
    found = select(candidates(np.random.default_rng(2), [0.3, 0.9, 0.6]), GROUPS, largest=False)
    assert found.best == 0


def test_out_of_bag_is_the_loop_over_resamples() -> None:
    rng = np.random.default_rng(3)
    means_KN = rng.random((3, 12))
    groups = [f"g{place % 4}" for place in range(12)]
    drawn = np.random.default_rng(5).multinomial(4, np.full(4, 0.25), size=2000)
    values = []
    for counts in drawn:
        if (counts > 0).all():
            continue
        weights = np.array([counts[int(group[1:])] for group in groups], dtype=float)
        best = int(np.argmax(means_KN @ weights / weights.sum()))
        left = weights == 0
        values.append(means_KN[best, left].mean())
    assert out_of_bag(means_KN, groups, 1.0, np.random.default_rng(5)) == pytest.approx(np.mean(values))


def test_one_group_cannot_judge_a_choice() -> None:
    with pytest.raises(ValueError, match="two groups or more; there is 1"):
        select(np.zeros((2, 1, 3)), ["g"] * 3)
