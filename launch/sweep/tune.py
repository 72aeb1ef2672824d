"""The three parts that Ray Tune asks for: what a trial does, which comes next, and which ends early."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ray.tune import Trainable
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search import Searcher

from sandwiching.configs.schema import Config, SweepConfig
from sandwiching.launch.environment import set_library_environment
from sandwiching.launch.sweep.trials import TrialRecord, Trials
from sandwiching.training.artifacts import Store

STEP, VALUE = "step", "value"
LOST = "its process ended; often its node had no memory left"


class TrialActor(Trainable):
    """A trial in a process without devices: its stages' workers have them."""

    def setup(self, config: dict[str, Any]) -> None:
        """config: folder, store, metric and gpus, as StudySearch.suggest gives them."""
        set_library_environment(config["gpus"])
        from sandwiching.launch.ray_runner import JoinedRunner
        from sandwiching.launch.sweep.work import TrialWork

        def runner(trial: Config, store: Path) -> JoinedRunner:
            return JoinedRunner(trial.resources, store / "ray")

        self.work = TrialWork(Path(config["folder"]), Store(Path(config["store"])), config["metric"], runner)

    def step(self) -> dict[str, Any]:
        """Tune calls it again and again until it says done."""
        return self.work.report()

    def cleanup(self) -> None:
        """At the end of a trial, also where asha ends it."""
        self.work.stop()


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the sweep does where a trial begins (None: no more) and where one ended."""

    begin: Callable[[], TrialRecord | None]
    end: Callable[[TrialRecord], None]


class FileSearch(Searcher):
    """Next trials from the sweep's files and study, and each result into them.

    OptunaSearch would tell Optuna that what asha ended is complete, and knows neither trials that go on nor drivers
    that share them.
    """

    def __init__(self, sweep: SweepConfig, trials: Trials, hooks: Hooks, given: dict[str, Any]) -> None:
        super().__init__(metric=VALUE, mode=sweep.mode)
        self.trials = trials
        self.hooks = hooks
        self.given = given
        self.records: dict[str, TrialRecord] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles what it would restore from, and the files say all."""
        return {}

    def suggest(self, trial_id: str) -> Any:
        """See Searcher."""
        record = self.hooks.begin()
        if record is None:
            return Searcher.FINISHED
        self.records[trial_id] = record
        return {**self.given, "number": record.number, "folder": str(self.trials.folder(record.number))}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """See Searcher."""
        record = self.records[trial_id] = _after(self.records[trial_id], result)
        self.trials.write(record)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """See Searcher. A last result that says `running` is one that asha ended the trial at; `lost`: see work.py."""
        record = self.records.pop(trial_id)
        if error or result is None:
            record = self.trials.lose(record, LOST)
        elif result["state"] == "lost":
            record = self.trials.lose(_after(record, result), result["error"])
        else:
            state = "pruned" if result["state"] == "running" else result["state"]
            record = _after(record, result).ending(state, result.get("error"))
        self.trials.write(record)
        self.hooks.end(record)
        self.trials.release(record.number)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: see __getstate__."""
        Path(checkpoint_path).touch()


class FileASHA(ASHAScheduler):
    """ASHA whose rungs hold the results of all trials in the sweep's files: of earlier starts and of other drivers."""

    def __init__(self, sweep: SweepConfig, trials: Trials, steps: int) -> None:
        super().__init__(
            time_attr=STEP,
            metric=VALUE,
            mode=sweep.mode,
            # No rung at the last step: there is nothing to save by ending a trial there.
            max_t=steps - 1,
            grace_period=sweep.grace,
            reduction_factor=sweep.reduction_factor,
            stop_last_trials=False,
        )
        self.trials = trials
        self.told: dict[int, int] = {}
        self.stand_ins: dict[int, Trial] = {}
        self.own: set[int] = set()

    def __getstate__(self) -> dict[str, Any]:
        """See FileSearch."""
        return {}

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """See TrialScheduler. What a trial that goes on was judged by before is not judged again."""
        number = trial.config["number"]
        self.own.add(number)
        self._stand_in(number)
        for record in self.trials.read():
            if record.number == number:
                self._tell(record)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """See TrialScheduler."""
        if result["state"] != "running" or result[STEP] >= result["steps"]:
            return TrialScheduler.CONTINUE
        for record in self.trials.read():
            if record.number not in self.own:
                self._tell(record)
        return super().on_trial_result(tune_controller, self._stand_in(trial.config["number"]), result)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """See TrialScheduler. Its results stay in the rungs."""
        self.own.discard(trial.config["number"])

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """See TrialScheduler."""
        self.own.discard(trial.config["number"])

    def _stand_in(self, number: int) -> Trial:
        """What rungs know a trial by, whichever driver has it: Tune's own ids are new in each start."""
        if number not in self.stand_ins:
            trial = Trial(TrialActor.__name__, stub=True, trial_id=f"trial-{number}")
            super().on_trial_add(None, trial)  # pyright: ignore[reportArgumentType]  it is not used
            self.stand_ins[number] = trial
        return self.stand_ins[number]

    def _tell(self, record: TrialRecord) -> None:
        trial = self._stand_in(record.number)
        for step, value in sorted(record.results.items()):
            if step > self.told.get(record.number, -1):
                super().on_trial_result(None, trial, {STEP: step, VALUE: value})  # pyright: ignore[reportArgumentType]
                self.told[record.number] = step


def _after(record: TrialRecord, result: dict[str, Any]) -> TrialRecord:
    record = replace(record, stages=_below(result, "stages/") or record.stages)
    return record.with_result(result[STEP], result[VALUE], _below(result, "metrics/")) if VALUE in result else record


def _below(result: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Of Tune's flat results."""
    return {name.removeprefix(prefix): value for name, value in result.items() if name.startswith(prefix)}
