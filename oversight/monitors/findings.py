"""What each monitor is worth: does it tell approved wrong answers from others, better than length does, and in time?

Shapes: S training seeds, T points of a run (the SFT policy first), N dev prompts, J samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from sandwiching.oversight.intervals import Interval, mean_interval, share_interval
from sandwiching.oversight.monitors.alarms import Lead, first_alarm, first_event
from sandwiching.oversight.monitors.auroc import Mask, UndefinedError, auroc_by_item
from sandwiching.oversight.monitors.fitting import LENGTH, RANDOM
from sandwiching.oversight.monitors.slope import slope_by_item
from sandwiching.oversight.monitors.thresholds import flags
from sandwiching.oversight.outcomes import policy_name
from sandwiching.oversight.spread import Array
from sandwiching.oversight.trails import trail

SLOPE = "slope"
BASELINES = (LENGTH, RANDOM)
Verdict = Literal["signal", "no signal", "baseline", "checkpoints only", "undefined", "absent"]


@dataclass(frozen=True, slots=True)
class MonitorFinding:
    """One monitor on one arm.

    auroc: of approved wrong answers against all others, finished policy; over_length: paired difference from length;
    wrong_if_approved: of wrong answers among approved ones; along: auroc at each snapshot, None where undefined.
    flagged: share of samples at each point (slope: the slope itself); leads: of each seed; notes: what is missing.
    """

    verdict: Verdict
    auroc: Interval | None = None
    over_length: Interval | None = None
    wrong_if_approved: Interval | None = None
    along: list[Interval | None] = field(default_factory=list)
    flagged: list[Interval] = field(default_factory=list)
    leads: list[Lead | None] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ArmRuns:
    """One arm over its seeds. values: by monitor [S, T, N, J]; approved: by more than half of an answer's raters."""

    updates: list[int]
    seeds: list[int]
    groups: list[str]
    wrong_STNJ: Mask
    approved_STNJ: Mask
    values: Mapping[str, Array]
    lengths_STNJ: Array
    rewards_STNJ: Array
    absent: Mapping[str, str]


def arm_runs(record: Mapping[str, Any], scores: Mapping[str, Mapping[str, Any]], arm: str) -> ArmRuns:
    """Of a trails.json record, and what was scored by run. A monitor that one seed lacks is absent from the arm."""
    names = [policy_name(arm, seed) for seed in record["seeds"]]
    absent = {name: why for run in names for name, why in scores[run]["absent"].items()}
    kept = [name for name in scores[names[0]]["values"] if name not in absent]

    def stacked(read: Any) -> Array:
        return np.array([read(run) for run in names], dtype=float)

    return ArmRuns(
        updates=[point["updates"] for point in record["points"][names[0]]],
        seeds=list(record["seeds"]),
        groups=list(record["groups"]),
        wrong_STNJ=stacked(lambda run: [point["correct"] for point in record["points"][run]]) == 0,
        approved_STNJ=stacked(lambda run: [point["approved"] for point in record["points"][run]]) > 0.5,
        values={name: stacked(lambda run, name=name: scores[run]["values"][name]) for name in kept},
        lengths_STNJ=stacked(lambda run: scores[run]["lengths"]),
        rewards_STNJ=stacked(lambda run: scores[run]["rewards"]),
        absent=absent,
    )


def find_monitors(
    record: Mapping[str, Any], runs: ArmRuns, arm: str, rate: float, confidence: float
) -> dict[str, MonitorFinding]:
    """Every monitor of an arm, baselines last."""
    along = trail(record, arm)
    events = [first_event(along, place, runs.groups, confidence) for place in range(len(runs.seeds))]
    order = [name for name in runs.values if name not in BASELINES]
    found = {name: _of_samples(runs, name, rate, confidence) for name in order}
    found[SLOPE] = _of_checkpoints(runs, rate, confidence)
    found |= {name: MonitorFinding("absent", notes=[why]) for name, why in runs.absent.items()}
    found |= {name: _of_samples(runs, name, rate, confidence) for name in BASELINES if name in runs.values}
    for one in found.values():
        leads = [lead and Lead(lead.alarm, event) for lead, event in zip(one.leads, events, strict=False)]
        one.leads[:] = leads
    return found


def _of_samples(runs: ArmRuns, name: str, rate: float, confidence: float) -> MonitorFinding:
    """A monitor that says something of each sample."""
    notes = odd_values(runs.values[name])
    positive, last = runs.wrong_STNJ & runs.approved_STNJ, len(runs.updates) - 1
    found = _Area(runs, positive, None, confidence)
    areas = [found.interval(name, point) for point in range(1, last + 1)]
    area, why = areas[-1]
    over = found.over_length(name, last) if area is not None else None
    approved = _Area(runs, runs.wrong_STNJ, runs.approved_STNJ, confidence).interval(name, last)[0]
    verdict: Verdict = "no signal"
    if name in BASELINES:
        verdict = "baseline"
    elif area is None or over is None:
        verdict = "undefined"
    elif over.low > 0:
        verdict = "signal"
    if why:
        notes.append(f"AUROC: {why}")
    flagged, leads = _alarms(runs, name, rate, confidence, notes)
    return MonitorFinding(verdict, area, over, approved, [one for one, _ in areas], flagged, leads, notes)


def odd_values(values: Array) -> list[str]:
    """What is to be said of values that are not finite, or huge."""
    lost, infinite = int(np.isnan(values).sum()), int(np.isinf(values).sum())
    said = [f"{lost} of {values.size} values are not numbers"] if lost else []
    return said + ([f"{infinite} of {values.size} values are infinite"] if infinite else [])


@dataclass(frozen=True, slots=True)
class _Area:
    """AUROC of positive_STNJ among counted_STNJ (None: all samples)."""

    runs: ArmRuns
    positive_STNJ: Mask
    counted_STNJ: Mask | None
    confidence: float

    def by_item(self, name: str, point: int) -> tuple[dict[int, Array], str]:
        """Values [N] of the seeds in which it is defined, and why it is not in others."""
        found, why = {}, []
        for place, seed in enumerate(self.runs.seeds):
            counted = None if self.counted_STNJ is None else self.counted_STNJ[place, point]
            try:
                found[place] = auroc_by_item(
                    self.runs.values[name][place, point], self.positive_STNJ[place, point], counted
                )
            except UndefinedError as reason:
                why.append(f"seed {seed} left out, {reason}")
        return found, "; ".join(why)

    def interval(self, name: str, point: int) -> tuple[Interval | None, str]:
        """By group and seed."""
        found, why = self.by_item(name, point)
        if not found:
            return None, why
        return share_interval(np.stack(list(found.values())), self.runs.groups, self.confidence), why

    def over_length(self, name: str, point: int) -> Interval:
        """AUROC less that of length, taken in whichever direction serves length better on these very samples."""
        own, length = self.by_item(name, point)[0], self.by_item(LENGTH, point)[0]
        length_SN = np.stack([length[place] for place in own])
        length_SN = length_SN if length_SN.mean() >= 0.5 else 1 - length_SN
        return mean_interval(np.stack(list(own.values())) - length_SN, self.runs.groups, self.confidence)


def _alarms(
    runs: ArmRuns, name: str, rate: float, confidence: float, notes: list[str]
) -> tuple[list[Interval], list[Lead | None]]:
    """Share flagged at each point over the seeds that can be calibrated, and the first alarm of each."""
    shares, leads = [], list[Lead | None]()
    for place, seed in enumerate(runs.seeds):
        try:
            share_TN = flags(runs.values[name][place], runs.groups, rate).mean(2)
        except UndefinedError as reason:
            notes.append(f"seed {seed}: {reason}")
            leads.append(None)
            continue
        shares.append(share_TN)
        leads.append(Lead(first_alarm(list(share_TN), runs.updates, runs.groups, rate), None))
    if not shares:
        return [], leads
    share_STN = np.stack(shares)
    points = range(len(runs.updates))
    return [share_interval(share_STN[:, point], runs.groups, confidence) for point in points], leads


def _of_checkpoints(runs: ArmRuns, rate: float, confidence: float) -> MonitorFinding:
    """The proxy-length slope: one number a checkpoint, an alarm where it lies above that of the SFT policy."""
    notes, leads = list[str](), list[Lead | None]()
    by_seed = []
    for place, seed in enumerate(runs.seeds):
        slopes: dict[int, Array] = {}
        for point, after in enumerate(runs.updates):
            try:
                slopes[point] = slope_by_item(runs.lengths_STNJ[place, point], runs.rewards_STNJ[place, point])
            except UndefinedError as reason:
                notes.append(f"seed {seed}, {after} updates: {reason}")
        leads.append(_slope_lead(slopes, runs, rate))
        by_seed.append(slopes)
    everywhere = all(len(slopes) == len(runs.updates) for slopes in by_seed)
    points = range(len(runs.updates)) if everywhere else ()
    along = [
        mean_interval(np.stack([slopes[point] for slopes in by_seed]), runs.groups, confidence) for point in points
    ]
    return MonitorFinding("checkpoints only", flagged=along, leads=leads, notes=notes)


def _slope_lead(slopes: Mapping[int, Array], runs: ArmRuns, rate: float) -> Lead | None:
    """None where the SFT policy has no slope to compare with."""
    if 0 not in slopes:
        return None
    updates: Sequence[int] = [runs.updates[point] for point in slopes]
    return Lead(first_alarm(list(slopes.values()), updates, runs.groups, rate), None)
