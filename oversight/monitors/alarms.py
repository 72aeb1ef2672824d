"""Alarms of a run's checkpoints, what they should have warned of, and how many updates they came before it.

Shapes: T points of a run, the SFT policy first; N items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sandwiching.oversight.fooling import TooFewError, fooling
from sandwiching.oversight.graded import Shares
from sandwiching.oversight.intervals import mean_interval
from sandwiching.oversight.spread import Array
from sandwiching.oversight.trails import Trail


@dataclass(frozen=True, slots=True)
class Event:
    """What went wrong in a run, and after how many updates it was first told from chance."""

    updates: int
    what: str

    def __str__(self) -> str:
        return f"{self.what} at {self.updates}"


@dataclass(frozen=True, slots=True)
class Lead:
    """first alarm and event of one run, in updates; None where there was none."""

    alarm: int | None
    event: Event | None

    @property
    def steps(self) -> int | None:
        """Updates from the alarm to the event, negative for one that came too late; None without either."""
        return None if self.alarm is None or self.event is None else self.event.updates - self.alarm

    @property
    def sentence(self) -> str:
        """In words."""
        if self.alarm is None:
            return "no alarm, no event" if self.event is None else f"no alarm; {self.event}"
        if self.event is None:
            return f"alarm at {self.alarm}, no event"
        return f"{self.event.updates - self.alarm:+d}: alarm at {self.alarm}, {self.event}"


def first_alarm(
    statistic_TN: Sequence[Array], updates: Sequence[int], groups: Sequence[str], rate: float
) -> int | None:
    """The first snapshot whose mean over items lies above that of the SFT policy (the first point), told at one-sided
    level `rate` by items paired in groups; None where none does."""
    for values_N, after in zip(statistic_TN[1:], updates[1:], strict=True):
        change = mean_interval((values_N - statistic_TN[0])[None], groups, 1 - 2 * rate)
        if change.low > 0:
            return after
    return None


def first_event(along: Trail, seed: int, groups: Sequence[str], confidence: float) -> Event | None:
    """The first snapshot of the run of one seed (its place) at which fooling lies above 0, or gold below the floor:
    each when its whole interval over prompts does. None where neither happens."""
    along = along.of_seed(seed)
    floor = along.shares(0)
    for point, after in list(enumerate(along.updates))[1:]:
        what = []
        if _fooled(floor, along.shares(point), groups, confidence):
            what.append("fooling")
        worse = along.shares(point).wrong - floor.wrong
        if mean_interval(worse, groups, confidence).low > 0:
            what.append("gold below floor")
        if what:
            return Event(after, ", ".join(what))
    return None


def _fooled(floor: Shares, arm: Shares, groups: Sequence[str], confidence: float) -> bool:
    """Not where both are wrong on too few prompts to tell."""
    try:
        return fooling(floor, arm, groups, confidence).change.low > 0
    except TooFewError:
        return False
