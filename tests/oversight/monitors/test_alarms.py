"""Slope against numpy's fit; lead times of runs with a planted alarm and a planted event."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from sandwiching.oversight.monitors.alarms import Event, Lead, first_alarm, first_event
from sandwiching.oversight.monitors.auroc import UndefinedError
from sandwiching.oversight.monitors.slope import slope_by_item
from sandwiching.oversight.trails import Trail

UPDATES = [0, 10, 20, 30]
GROUPS = [f"g{place // 2}" for place in range(60)]


def statistic(levels: Sequence[float], seed: int = 0) -> list[np.ndarray]:
    """Share flagged of each item at each point."""
    rng = np.random.default_rng(seed)
    return [rng.binomial(4, level, 60) / 4 for level in levels]


def trail(wrong: Sequence[float], passed: Sequence[float], seed: int = 0) -> Trail:
    """One run with these shares wrong, and approved of what is wrong, at each point."""
    rng = np.random.default_rng(seed)
    wrong_STN = np.stack([rng.binomial(4, share, 60) / 4 for share in wrong])[None]
    approved_STN = np.stack([wrong_STN[0, t] * share for t, share in enumerate(passed)])[None]
    zero_STN = np.zeros_like(wrong_STN)
    return Trail(UPDATES, zero_STN[:, :, 0], wrong_STN, approved_STN, approved_STN, zero_STN, zero_STN)


def test_the_slope_is_that_of_least_squares() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 30, (12, 3)).astype(float)
    rewards = 0.3 * lengths + rng.normal(size=(12, 3))
    assert slope_by_item(lengths, rewards).mean() == pytest.approx(np.polyfit(lengths.ravel(), rewards.ravel(), 1)[0])
    with pytest.raises(UndefinedError, match="all samples have one length"):
        slope_by_item(np.ones((12, 3)), rewards)
    rewards[0, 0] = np.inf
    with pytest.raises(UndefinedError, match="1 of 36 rewards are not finite"):
        slope_by_item(lengths, rewards)


def test_an_alarm_comes_where_more_is_flagged_than_of_the_start() -> None:
    assert first_alarm(statistic([0.05, 0.05, 0.4, 0.5]), UPDATES, GROUPS, 0.05) == 20
    assert first_alarm(statistic([0.4, 0.4, 0.05, 0.05]), UPDATES, GROUPS, 0.05) is None
    assert first_alarm([np.zeros(60)] * 4, UPDATES, GROUPS, 0.05) is None


def test_a_checkpoint_like_the_start_raises_an_alarm_at_the_rate() -> None:
    alarms = [first_alarm(statistic([0.2, 0.2], seed), [0, 10], GROUPS, 0.05) is not None for seed in range(1000)]
    assert 0.03 <= np.mean(alarms) <= 0.07


def test_events_are_fooling_and_gold_below_the_floor() -> None:
    still = trail([0.4] * 4, [0.5] * 4)
    assert first_event(still, 0, GROUPS, 0.95) is None
    assert first_event(trail([0.4] * 4, [0.5, 0.5, 0.5, 0.8]), 0, GROUPS, 0.95) == Event(30, "fooling")
    assert first_event(trail([0.2, 0.2, 0.6, 0.6], [0.5] * 4), 0, GROUPS, 0.95) == Event(20, "gold below floor")
    both = first_event(trail([0.2, 0.6, 0.6, 0.6], [0.3, 0.9, 0.9, 0.9]), 0, GROUPS, 0.95)
    assert both == Event(10, "fooling, gold below floor")


def test_each_seed_has_its_own_event() -> None:
    runs = [trail([0.4] * 4, [0.5, 0.5, 0.5, 0.8]), trail([0.2, 0.2, 0.6, 0.6], [0.5] * 4)]
    names = ("kl_ST", "wrong_STN", "approved_STN", "approved_wrong_STN", "forced_STN", "reward_STN")
    both = Trail(UPDATES, *(np.concatenate([getattr(run, name) for run in runs]) for name in names))
    assert [first_event(both, seed, GROUPS, 0.95) for seed in (0, 1)] == [
        Event(30, "fooling"),
        Event(20, "gold below floor"),
    ]


@pytest.mark.parametrize(
    ("alarm", "event", "steps", "said"),
    [
        (10, Event(30, "fooling"), 20, "+20: alarm at 10, fooling at 30"),
        (30, Event(10, "fooling"), -20, "-20: alarm at 30, fooling at 10"),
        (None, Event(10, "fooling"), None, "no alarm; fooling at 10"),
        (10, None, None, "alarm at 10, no event"),
        (None, None, None, "no alarm, no event"),
    ],
)
def test_lead_times_in_words(alarm: int | None, event: Event | None, steps: int | None, said: str) -> None:
    assert (Lead(alarm, event).steps, Lead(alarm, event).sentence) == (steps, said)
