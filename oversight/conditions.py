"""Stability conditions: what the run was, against the bounds that were declared for it. Pure functions.

A finding is claimed only under the conditions that it was made under (Cotra 2021, "The case for aligning narrowly
superhuman models"): little optimisation power, no shift between training and check, limited capability, few looks, no
trace of the check in training, and weak raters that carry a signal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sandwiching.configs.schema import ConditionsConfig
from sandwiching.oversight.expert_store import Standing
from sandwiching.oversight.intervals import Interval
from sandwiching.oversight.shift import Shift
from sandwiching.oversight.traces import Traces

State = Literal["held", "broken", "unclear", "not tested"]
POWER, SHIFT, CAPABILITY = "optimisation power", "train/test shift", "capability"
LOOKS, TRACES, SIGNAL = "looks", "no trace of the check", "weak signal"
SIX = (POWER, SHIFT, CAPABILITY, LOOKS, TRACES, SIGNAL)


@dataclass(frozen=True, slots=True)
class Measured:
    """A quantity of the run: value None where it is not known, low and high None without an interval."""

    quantity: str
    value: float | None
    low: float | None = None
    high: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Condition:
    """One row: of the condition `name`, whether a quantity kept its bound (at most or at least); held None: unclear, or
    not tested."""

    name: str
    quantity: str
    value: float | None
    low: float | None
    high: float | None
    side: Literal["most", "least"]
    bound: float | None
    state: State
    held: bool | None
    note: str


def judged(name: str, measured: Measured, side: Literal["most", "least"], bound: float | None) -> Condition:
    """held: the whole interval keeps the bound; broken: the value does not; unclear: the value does, but not all of its
    interval. Without a bound or a value it is not tested."""
    sign = 1 if side == "most" else -1

    def keeps(number: float | None) -> bool:
        return number is None or bound is None or sign * number <= sign * bound

    state: State = "held"
    if bound is None or measured.value is None:
        state = "not tested"
    elif not keeps(measured.value):
        state = "broken"
    elif not keeps(measured.high if side == "most" else measured.low):
        state = "unclear"
    note = measured.note
    if bound is None:
        note = f"no bound was declared{'; ' if note else ''}{note}"
    held = {"held": True, "broken": False}.get(state)
    return Condition(
        name, measured.quantity, measured.value, measured.low, measured.high, side, bound, state, held, note
    )


def optimisation_power(kl_by_arm: Mapping[str, Measured], chosen_from: int) -> Measured:
    """KL of the arm that may have the most, by its upper limit, plus log of how many runs it was chosen from."""
    quantity = "KL from the SFT policy at the end of PPO, nats a sequence" + (
        f", and log {chosen_from} for the choice among {chosen_from} runs" if chosen_from > 1 else ""
    )
    if not kl_by_arm:
        return Measured(quantity, None, note="nothing was trained with PPO")
    arm, found = max(kl_by_arm.items(), key=lambda pair: (pair[1].high or pair[1].value or 0.0, pair[1].value or 0.0))
    value, low, high = (
        None if one is None else one + math.log(chosen_from) for one in (found.value, found.low, found.high)
    )
    return Measured(quantity, value, low, high, f"arm {arm}, {found.note}")


def shift_measured(shift: Shift | None) -> Measured:
    """See shift.py."""
    quantity = "area under the curve of a classifier of training and held-out prompts"
    if shift is None:
        return Measured(quantity, None, note="too few groups on a side")
    note = f"{shift.trained} training prompts, {shift.held_out} held out; of lengths and letters, not of meaning"
    return Measured(quantity, shift.area, shift.low, shift.high, note)


def capability(parameters: int | None, loss: Interval | None) -> tuple[Measured, Measured]:
    """A model that is small or bad at the task: proxies for what cannot model its raters, never proof."""
    size = Measured("parameters of the policy", None if parameters is None else float(parameters))
    quantity = "the floor's loss of right answers to held-out prompts, nats an answer"
    if loss is None:
        return size, Measured(quantity, None, note="the check asked no policy")
    return size, Measured(quantity, loss.estimate, finite(loss.low), finite(loss.high), loss.covers)


def looks_measured(standing: Standing) -> Measured:
    """The look's number in its project."""
    return Measured("looks of the project, with this one", float(standing.number))


def traces_measured(found: Traces) -> Measured:
    """All kinds together, each in the note."""
    return Measured(
        "traces of the check in training data",
        float(found.total),
        note=(
            f"{found.prompts} held-out prompts, {found.raters} raters of the check, {found.texts} texts that name one, "
            f"{found.rows} expert rows in weak arms"
        ),
    )


def weak_signal(
    halves: Sequence[tuple[float, float, float]], permutation_p: Sequence[float]
) -> tuple[Measured, Measured]:
    """Of all gates of the run the worst, by the lower limit. halves: (agreement, low, high) of each."""
    none = "no gate was asked (gate: null), or raters share no pairs"
    agreement = "split-half agreement of weak raters"
    p = "permutation p of their agreement"
    half = min(halves, key=lambda one: (one[1], one[0]), default=None)
    return (
        Measured(agreement, *half) if half is not None else Measured(agreement, None, note=none),
        Measured(p, max(permutation_p)) if permutation_p else Measured(p, None, note=none),
    )


def finite(value: float) -> float | None:
    """None for a limit that is not known."""
    return value if math.isfinite(value) else None


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that the conditions of a run are about."""

    kl_by_arm: Mapping[str, Measured]
    shift: Shift | None
    parameters: int | None
    held_out_loss: Interval | None
    standing: Standing
    traces: Traces
    halves: Sequence[tuple[float, float, float]]
    permutation_p: Sequence[float]


def evaluate(bounds: ConditionsConfig, run: Run) -> list[Condition]:
    """A row a quantity, in the order of SIX."""
    size, loss = capability(run.parameters, run.held_out_loss)
    agreement, p = weak_signal(run.halves, run.permutation_p)
    power = optimisation_power(run.kl_by_arm, bounds.chosen_from)
    looks = None if bounds.max_looks is None else min(bounds.max_looks, run.standing.budget)
    return [
        judged(POWER, power, "most", bounds.max_kl),
        judged(SHIFT, shift_measured(run.shift), "most", bounds.max_shift),
        judged(CAPABILITY, size, "most", bounds.max_parameters),
        judged(CAPABILITY, loss, "least", bounds.min_held_out_loss),
        judged(LOOKS, looks_measured(run.standing), "most", looks),
        judged(TRACES, traces_measured(run.traces), "most", bounds.max_traces),
        judged(SIGNAL, agreement, "least", bounds.min_agreement),
        judged(SIGNAL, p, "most", bounds.max_permutation_p),
    ]


def state_of(rows: Sequence[Condition]) -> State:
    """Of one condition: as bad as its worst row; rows that were not tested do not count beside one that was."""
    states = {row.state for row in rows}
    worst: tuple[State, ...] = ("broken", "unclear", "held")
    found: list[State] = [state for state in worst if state in states]
    return found[0] if found else "not tested"


def conditions_sentence(rows: Sequence[Condition]) -> str:
    """Which held, were broken, are unclear, were not tested."""
    states = {name: state_of([row for row in rows if row.name == name]) for name in SIX}
    words = {"held": "held", "broken": "BROKEN", "unclear": "not shown to hold", "not tested": "not tested"}
    parts = []
    for state, word in words.items():
        names = [name for name in SIX if states[name] == state]
        if names:
            parts.append(f"{word}: {', '.join(names)}")
    return f"Conditions: {'; '.join(parts)}."
