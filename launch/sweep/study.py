"""Suggestions for trials: an Optuna study in the run's folder, which several drivers may share.

Optuna's numbers are the trials' numbers. A trial stays RUNNING in the study until it is final (trials.py), however
often it is interrupted; then its result is told.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from sandwiching.configs.schema import SweepConfig
from sandwiching.configs.sweep_block import Dimension, grid, parse_space
from sandwiching.launch.sweep.trials import TrialRecord

JOURNAL = "optuna.journal"
NAME = "sweep"
STATES = {
    "done": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "running": TrialState.RUNNING,
    "interrupted": TrialState.RUNNING,
}
STARTUP = 10
"""Optuna's own: random trials before its estimator has enough to go by. Of a short sweep, a third."""


class Suggestions:
    """The study of a sweep."""

    def __init__(self, sweep: SweepConfig, run_dir: Path) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.sweep = sweep
        self.dimensions = parse_space(sweep.space)
        self.points = grid(self.dimensions) if sweep.search == "grid" else None
        self.distributions = distributions(self.dimensions)
        self.study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(run_dir / JOURNAL))),
            study_name=NAME,
            direction=direction(sweep),
            load_if_exists=True,
        )

    def new(self, total: int, begun: Collection[int]) -> tuple[int, dict[str, Any]] | None:
        """Number and params of a new trial of `total`, None when there are as many. One driver at a time.

        begun: numbers that have a folder; a driver may have been killed before it made one.
        """
        known = self.study.get_trials(deepcopy=False)
        asked = [trial for trial in known if trial.state is not TrialState.WAITING]
        for trial in asked:
            if trial.number not in begun:
                return trial.number, decoded(trial.params, self.dimensions)
        if len(asked) >= total:
            return None
        # A sampler that went on from the seed after a restart, or in two drivers, would say the same twice.
        self.study.sampler = sampler(self.sweep, len(asked), total)
        if self.points is not None and len(known) == len(asked):
            self.study.enqueue_trial(encoded(self.points[len(asked)], self.dimensions))
        trial = self.study.ask(self.distributions)
        return trial.number, decoded(trial.params, self.dimensions)

    def tell(self, record: TrialRecord) -> None:
        """The end of a trial that is final."""
        state = STATES[record.state]
        value = record.value if state is TrialState.COMPLETE else None
        self.study.tell(record.number, value, state, skip_if_finished=True)


def sampler(sweep: SweepConfig, number: int, total: int) -> BaseSampler:
    """The sampler of one trial."""
    seed = sweep.seed * 1_000_003 + number
    if sweep.search == "optuna":
        return TPESampler(n_startup_trials=min(STARTUP, max(1, total // 3)), constant_liar=True, seed=seed % 2**32)
    return RandomSampler(seed=seed % 2**32)


def direction(sweep: SweepConfig) -> StudyDirection:
    """In Optuna's words."""
    return StudyDirection.MAXIMIZE if sweep.mode == "max" else StudyDirection.MINIMIZE


def distributions(dimensions: Sequence[Dimension]) -> dict[str, BaseDistribution]:
    """In Optuna's words."""
    found: dict[str, BaseDistribution] = {}
    for one in dimensions:
        if one.kind == "choice":
            found[one.key] = CategoricalDistribution([_plain(value) for value in one.values])
        elif one.kind == "int":
            found[one.key] = IntDistribution(*one.values)
        else:
            found[one.key] = FloatDistribution(*one.values, log=one.kind == "loguniform")
    return found


def encoded(params: dict[str, Any], dimensions: Sequence[Dimension]) -> dict[str, Any]:
    """As Optuna keeps them: a list becomes text."""
    return {
        one.key: _plain(params[one.key]) if one.kind == "choice" else params[one.key]
        for one in dimensions
        if one.key in params
    }


def decoded(params: dict[str, Any], dimensions: Sequence[Dimension]) -> dict[str, Any]:
    """The inverse of `encoded`."""
    values = {one.key: {_mark(_plain(value)): value for value in one.values} for one in dimensions}
    kinds = {one.key: one.kind for one in dimensions}
    return {
        key: values[key][_mark(value)] if kinds[key] == "choice" else value
        for key, value in params.items()
        if key in kinds
    }


def as_study(records: Sequence[TrialRecord], sweep: SweepConfig) -> optuna.Study:
    """A study in memory of what the files say, with each trial's results by step: what Optuna's plots draw."""
    dimensions = parse_space(sweep.space)
    study = optuna.create_study(direction=direction(sweep), sampler=RandomSampler(seed=0))
    study.add_trials([_frozen(record, dimensions) for record in records if record.state in ("done", "pruned")])
    return study


def _frozen(record: TrialRecord, dimensions: Sequence[Dimension]) -> FrozenTrial:
    return create_trial(
        state=STATES[record.state],
        value=record.value,
        params=encoded(record.params, dimensions),
        distributions=distributions(dimensions),
        intermediate_values=record.results,
    )


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else json.dumps(value)


def _mark(value: Any) -> str:
    """1, 1.0 and true are different choices."""
    return f"{type(value).__name__} {value!r}"
