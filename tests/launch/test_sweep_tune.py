"""The parts that Ray Tune is given, without a cluster: asha's rungs from files, and what the search writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from sandwiching.configs.schema import SweepConfig
from sandwiching.launch.sweep.trials import TrialRecord, Trials
from sandwiching.launch.sweep.tune import FileASHA, FileSearch, Hooks, TrialActor

STOP, CONTINUE = TrialScheduler.STOP, TrialScheduler.CONTINUE
STEPS = 9
ANY: Any = None


def sweep_block(mode: str = "max") -> SweepConfig:
    return SweepConfig(mode=mode, grace=2, reduction_factor=2)


def add(trials: Trials, number: int, results: dict[int, float], state: Any = "done") -> None:
    record = trials.add(number, {})
    for step, value in results.items():
        record = record.with_result(step, value, {})
    trials.write(record.ending(state))
    trials.release(number)


def tune_trial(asha: FileASHA, number: int) -> Trial:
    trial = Trial(TrialActor.__name__, stub=True, config={"number": number})
    asha.on_trial_add(ANY, trial)
    return trial


def judged(asha: FileASHA, trial: Trial, step: int, value: float, steps: int = STEPS) -> str:
    result = {"step": step, "value": value, "steps": steps, "state": "running"}
    return asha.on_trial_result(ANY, trial, result)


@pytest.mark.parametrize(("mode", "sign"), [("max", 1.0), ("min", -1.0)])
def test_rungs_hold_what_the_files_say(tmp_path: Path, mode: str, sign: float) -> None:
    trials = Trials(tmp_path)
    for number, value in enumerate((1.0, 2.0, 3.0)):
        add(trials, number, {1: 9.0 * sign, 2: value * sign})
    asha = FileASHA(sweep_block(mode), trials, STEPS)
    poor, good = tune_trial(asha, 3), tune_trial(asha, 4)
    assert judged(asha, poor, 1, -9.0 * sign) == CONTINUE, "below the grace"
    assert judged(asha, poor, 2, 1.5 * sign) == STOP
    assert judged(asha, good, 2, 4.0 * sign) == CONTINUE


def test_results_of_other_drivers_count_as_they_come(tmp_path: Path) -> None:
    trials = Trials(tmp_path)
    asha = FileASHA(sweep_block(), trials, STEPS)
    first = tune_trial(asha, 0)
    assert judged(asha, first, 2, 1.0) == CONTINUE
    add(trials, 1, {2: 5.0, 4: 5.0}, "running")
    assert judged(asha, first, 3, 1.0) == CONTINUE, "not judged again at the rung that it passed"
    assert judged(asha, first, 4, 1.0) == STOP


def test_a_trial_that_goes_on_is_not_judged_by_what_came_later(tmp_path: Path) -> None:
    trials = Trials(tmp_path)
    add(trials, 0, {1: 1.0, 2: 1.0}, "interrupted")
    for number in (1, 2, 3):
        add(trials, number, {2: 5.0})
    asha = FileASHA(sweep_block(), trials, STEPS)
    again = tune_trial(asha, 0)
    assert [judged(asha, again, step, 1.0) for step in (1, 2, 3)] == [CONTINUE] * 3
    assert judged(asha, tune_trial(asha, 4), 2, 1.0) == STOP


def test_a_trial_taken_over_from_another_driver_is_not_judged_against_itself(tmp_path: Path) -> None:
    trials = Trials(tmp_path)
    asha = FileASHA(sweep_block(), trials, STEPS)
    add(trials, 0, {2: 1.0, 4: 9.0}, "running")
    assert judged(asha, tune_trial(asha, 1), 2, 2.0) == CONTINUE
    taken = tune_trial(asha, 0)
    assert [judged(asha, taken, step, 1.0 if step < 4 else 9.0) for step in (1, 2, 3, 4, 5)] == [CONTINUE] * 5


def test_nothing_is_ended_at_its_last_step_or_at_its_end(tmp_path: Path) -> None:
    trials = Trials(tmp_path)
    add(trials, 0, {2: 5.0})
    asha = FileASHA(sweep_block(), trials, STEPS)
    trial = tune_trial(asha, 1)
    assert judged(asha, trial, 2, 0.0, steps=2) == CONTINUE
    assert asha.on_trial_result(ANY, trial, {"state": "failed", "done": True}) == CONTINUE


def search(trials: Trials, ended: list[TrialRecord]) -> FileSearch:
    waiting = [0, 1, 2]

    def begin() -> TrialRecord | None:
        return trials.add(waiting.pop(0), {"x": 1}) if waiting else None

    return FileSearch(sweep_block(), trials, Hooks(begin, ended.append), {"store": "s"})


def test_results_and_ends_are_written(tmp_path: Path) -> None:
    trials, ended = Trials(tmp_path), []
    searcher = search(trials, ended)
    given = searcher.suggest("a")
    assert given == {"store": "s", "number": 0, "folder": str(tmp_path / "trials/0")}
    searcher.suggest("b")
    searcher.suggest("c")
    assert searcher.suggest("d") == Searcher.FINISHED
    running = {"state": "running", "step": 1, "value": 0.5, "metrics/ppo/kl": 2.0, "stages/sft-seed0": "sft-1"}
    searcher.on_trial_result("a", running)
    record = trials.read()[0]
    assert (record.state, record.results, record.metrics) == ("running", {1: 0.5}, {"ppo/kl": 2.0})
    assert record.stages == {"sft-seed0": "sft-1"}
    searcher.on_trial_complete("a", {**running, "step": 2, "value": 0.7})
    searcher.on_trial_complete("b", {"state": "failed", "error": "it broke", "done": True})
    searcher.on_trial_complete("c", error=True)
    assert [record.state for record in trials.read()] == ["pruned", "failed", "interrupted"]
    assert [record.faults for record in trials.read()] == [0, 0, 1]
    assert ended == trials.read()
    assert (ended[0].results, ended[1].error) == ({1: 0.5, 2: 0.7}, "it broke")
    assert "its process ended" in str(ended[2].error)
    assert not trials.held


def test_what_the_cluster_fails_is_not_the_trials_failure(tmp_path: Path) -> None:
    trials, ended = Trials(tmp_path), []
    searcher = search(trials, ended)
    searcher.suggest("a")
    searcher.on_trial_complete(
        "a", {"state": "lost", "error": "no node came back", "step": 3, "value": 1.0, "done": True}
    )
    (record,) = ended
    assert (record.state, record.error, record.failures, record.faults) == ("interrupted", "no node came back", 0, 1)
    assert record.results == {3: 1.0}
