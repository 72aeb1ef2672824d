"""Bookkeeping of a sweep without Ray: trial files, the study, what goes on after an interruption, the outcome."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sandwiching.configs.load import load
from sandwiching.configs.schema import Config
from sandwiching.launch.failures import Terminated
from sandwiching.launch.sweep.leftovers import delete_leftovers
from sandwiching.launch.sweep.session import Sweep, decisive, differences, refuse_another_sweep
from sandwiching.launch.sweep.study import Suggestions
from sandwiching.launch.sweep.trials import FAULTS_A_START, MOST_FAULTS, TrialRecord, Trials
from sandwiching.training.artifacts import STOP, Store

GRID = ["sweep.space={ppo.advantage: {choice: [gae, group]}, seeds: {choice: [[0], [1, 2]]}}", "sweep.search=grid"]
GRID = [*GRID, "sweep.trials=null", "sweep.space.ppo.optimizer=null", "sweep.space.ppo.kl=null"]
LR, KL, ADVANTAGE = "ppo.optimizer.learning_rate", "ppo.kl.coefficient", "ppo.advantage"


def config_of(*overrides: str) -> Config:
    return load("tiny_sweep", overrides)


def open_sweep(folder: Path, *overrides: str) -> Sweep:
    return Sweep(config_of(*overrides), Store(folder / "store"), folder, Console(file=io.StringIO()))


def finish(sweep: Sweep, record: TrialRecord, state: Any = "done", value: float = 1.0) -> TrialRecord:
    """What the search does at the end of a trial."""
    record = record.with_result(4, value, {}).ending(state, "broke" if state == "failed" else None)
    sweep.trials.write(record)
    sweep.end(record)
    sweep.trials.release(record.number)
    return record


def begun(sweep: Sweep) -> TrialRecord:
    record = sweep.begin()
    assert record is not None
    return record


def test_trials_have_configs_and_end_when_there_are_enough(tmp_path: Path) -> None:
    sweep = open_sweep(tmp_path, "sweep.trials=2")
    first, second = begun(sweep), begun(sweep)
    assert (first.number, second.number) == (0, 1)
    assert first.params != second.params
    assert sweep.begin() is None
    trial = load(tmp_path / "trials/1/config.yaml")
    assert trial.ppo is not None
    assert trial.ppo.optimizer.learning_rate == second.params[LR]
    assert (trial.name, trial.sweep) == ("tiny_sweep-1", None)


def test_another_driver_takes_other_trials(tmp_path: Path) -> None:
    one, other = open_sweep(tmp_path, "sweep.trials=3"), open_sweep(tmp_path, "sweep.trials=3")
    assert [begun(one).number, begun(other).number, begun(one).number] == [0, 1, 2]
    assert other.begin() is None
    params = [json.dumps(record.params) for record in one.trials.read()]
    assert len(set(params)) == 3


def test_a_killed_drivers_trials_go_on_first(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
        "from test_sweep_files import *\n"
        "sweep = open_sweep(Path(sys.argv[1])); finish(sweep, begun(sweep)); begun(sweep); begun(sweep); os._exit(9)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent)], check=False)
    assert killed.returncode == 9
    before = Trials(tmp_path).read()
    assert [record.state for record in before] == ["done", "running", "running"]
    sweep = open_sweep(tmp_path)
    again = [begun(sweep), begun(sweep)]
    assert [record.params for record in again] == [record.params for record in before[1:]]
    assert begun(sweep).number == 3
    assert Trials(tmp_path).read()[0] == before[0]


def test_interrupted_trials_go_on_and_failed_ones_are_tried_once_more(tmp_path: Path) -> None:
    sweep = open_sweep(tmp_path)
    failed = finish(sweep, begun(sweep), "failed")
    assert failed.error == "broke"
    # Not in the same start: what broke a trial would break it again at once.
    pruned, stopped = begun(sweep), begun(sweep)
    assert (pruned.number, stopped.number) == (1, 2)
    finish(sweep, pruned, "pruned")
    stopped = finish(sweep, stopped, "interrupted")
    sweep = open_sweep(tmp_path)
    retried, resumed = begun(sweep), begun(sweep)
    assert (retried.number, resumed.number, resumed.results) == (0, 2, stopped.results)
    assert finish(sweep, retried, "failed").final
    finish(sweep, resumed)
    sweep = open_sweep(tmp_path)
    assert begun(sweep).number == 3
    states = [trial.state.name for trial in sweep.suggestions.study.trials]
    assert states == ["FAIL", "PRUNED", "COMPLETE", "RUNNING"]


def test_a_trial_whose_cluster_fails_goes_on_in_this_start_and_the_next_but_not_for_ever(tmp_path: Path) -> None:
    sweep = open_sweep(tmp_path, "sweep.trials=1")
    record = begun(sweep)
    again: TrialRecord | None = record
    while again is not None:
        lost = sweep.trials.lose(again, "a node is gone")
        sweep.trials.write(lost)
        sweep.end(lost)
        sweep.trials.release(record.number)
        again = sweep.begin()
    (record,) = sweep.trials.read()
    assert (record.state, record.faults, record.failures, record.final) == ("interrupted", FAULTS_A_START, 0, False)
    sweep = open_sweep(tmp_path, "sweep.trials=1")
    record = replace(begun(sweep), faults=MOST_FAULTS - 1)
    lost = sweep.trials.lose(record, "a node is gone")
    assert (lost.state, lost.final, lost.error) == ("failed", True, "a node is gone")


def test_a_driver_killed_between_study_and_folder_loses_no_trial(tmp_path: Path) -> None:
    sweep = open_sweep(tmp_path, "sweep.trials=2")
    orphan = sweep.suggestions.new(2, set())
    assert orphan is not None
    again = open_sweep(tmp_path, "sweep.trials=2")
    record = begun(again)
    assert (record.number, record.params) == orphan
    assert begun(again).number == 1
    assert again.begin() is None


def test_what_ended_while_the_journal_was_not_written_is_told_later(tmp_path: Path) -> None:
    sweep = open_sweep(tmp_path)
    record = begun(sweep)
    sweep.trials.write(record.with_result(4, 2.5, {}).ending("done"))
    sweep.trials.release(record.number)
    assert open_sweep(tmp_path).suggestions.study.best_value == 2.5


def test_a_grid_has_every_point_once(tmp_path: Path) -> None:
    sweep = open_sweep(tmp_path, *GRID)
    points = [begun(sweep).params for _ in range(4)]
    assert sweep.begin() is None
    assert points == [
        {ADVANTAGE: advantage, "seeds": seeds} for advantage in ("gae", "group") for seeds in ([0], [1, 2])
    ]
    assert load(tmp_path / "trials/3/config.yaml").seeds == [1, 2]


def test_params_that_do_not_fit_together_are_a_failed_trial(tmp_path: Path) -> None:
    points = "sweep.space={ppo.advantage: {choice: [gae, group]}, ppo.samples_per_prompt: {choice: [2, 1]}}"
    fits = [points, "sweep.space.ppo.optimizer=null", "sweep.space.ppo.kl=null", "sweep.search=random"]
    sweep = open_sweep(tmp_path, *fits)
    while sweep.begin() is not None:
        pass
    found = {
        (record.params[ADVANTAGE], record.params["ppo.samples_per_prompt"]): record for record in sweep.trials.read()
    }
    assert found["group", 2].state == found["gae", 1].state == "running"
    refused = found["group", 1]
    assert (refused.state, refused.final) == ("failed", True)
    assert "compares responses to one prompt" in str(refused.error)


def test_a_restart_suggests_nothing_twice(tmp_path: Path) -> None:
    for search in ("random", "optuna"):
        params = []
        (tmp_path / search).mkdir()
        for _ in range(4):
            sweep = open_sweep(tmp_path / search, f"sweep.search={search}")
            params.append(json.dumps(finish(sweep, begun(sweep)).params))
        assert len(set(params)) == 4


def test_after_a_signal_no_trial_begins_and_those_at_work_are_asked(tmp_path: Path) -> None:
    sweep = open_sweep(tmp_path)
    with pytest.raises(Terminated):
        sweep.signals.handle(15, None)
    record = begun(sweep)
    sweep.signals.handle(15, None)
    assert (sweep.trials.folder(record.number) / STOP).exists()
    assert sweep.begin() is None
    with pytest.raises(Terminated):
        sweep.signals.handle(15, None)
    sweep.trials.release(record.number)
    open_sweep(tmp_path).begin()
    assert not (sweep.trials.folder(record.number) / STOP).exists()


def test_what_asha_ended_keeps_no_checkpoints_unless_somebody_works_on_it(tmp_path: Path) -> None:
    sweep = open_sweep(tmp_path)
    names = {"ended": "ppo-1", "at work": "ppo-2", "done": "ppo-3", "another's": "ppo-4"}
    for name in names.values():
        (sweep.store.root / name / "checkpoints/step_2").mkdir(parents=True)
        (sweep.store.root / name / "attempt").write_text("1")
    (sweep.store.root / "ppo-3/manifest.json").write_text("{}")
    record = replace(begun(sweep), state="pruned", stages={name: names[name] for name in ("ended", "at work", "done")})
    other = replace(record, number=1, state="interrupted", stages={"another's": "ppo-4"})
    with sweep.store.claim("ppo", "2", print):
        delete_leftovers([record, other], sweep.store, sweep.config.resources)
    left = {file.parents[1].name for file in sweep.store.root.glob("*/checkpoints/step_2")}
    assert left == {"ppo-2", "ppo-3", "ppo-4"}


def test_a_folder_holds_one_sweep(tmp_path: Path) -> None:
    refuse_another_sweep(config_of(), tmp_path)
    refuse_another_sweep(config_of("ppo.epochs=1"), tmp_path)  # no trial yet
    sweep = open_sweep(tmp_path, "ppo.epochs=1")
    begun(sweep)
    refuse_another_sweep(config_of("ppo.epochs=1", "sweep.trials=20", "resources.micro_batch=2"), tmp_path)
    with pytest.raises(ValueError, match=r"another sweep: ppo\.epochs changed since"):
        refuse_another_sweep(config_of("ppo.epochs=2"), tmp_path)
    changed = differences(decisive(config_of()), decisive(config_of("sweep.space.ppo.lam={uniform: [0, 1]}")))
    assert changed == ["sweep.space.ppo"]


def test_the_journal_is_read_by_every_driver(tmp_path: Path) -> None:
    one, other = open_sweep(tmp_path), open_sweep(tmp_path)
    finish(one, begun(one), value=7.0)
    assert isinstance(other.suggestions, Suggestions)
    assert other.suggestions.study.best_value == 7.0
