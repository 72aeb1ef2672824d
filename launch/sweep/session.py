"""What `sandwich sweep` does once its config is known to be right: Ray Tune over runs of our own."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from sandwiching.configs.errors import ConfigError
from sandwiching.configs.load import load, to_yaml
from sandwiching.configs.resolve import with_settings
from sandwiching.configs.schema import Config, ResourcesConfig, SweepConfig
from sandwiching.configs.structure import plain
from sandwiching.configs.sweep_block import number_of_trials
from sandwiching.configs.sweep_check import is_expert_metric
from sandwiching.launch.attempts import Attempt
from sandwiching.launch.cluster import start_ray, usable_cpus
from sandwiching.launch.environment import set_library_environment
from sandwiching.launch.failures import Terminated
from sandwiching.launch.head_watch import HeadWatch
from sandwiching.launch.paths import with_absolute_paths
from sandwiching.launch.session import prepared_graph
from sandwiching.launch.stopping import StopSignals
from sandwiching.launch.sweep.expert import require_looks
from sandwiching.launch.sweep.leftovers import delete_leftovers
from sandwiching.launch.sweep.objective import trial_graph
from sandwiching.launch.sweep.outcome import begun_line, ended_line, show_outcome, write_outcome
from sandwiching.launch.sweep.room import all_at_once, most_steps
from sandwiching.launch.sweep.trials import MOST_TRIES, TrialRecord, Trials
from sandwiching.training.artifacts import Stopped, Store, write_atomic

WAIT_SECONDS = 0.2
STOP_SECONDS = 600.0
"""In which Ray Tune has a trial end that asha does not go on with."""
HEAD = "node:__internal_head__"
"""Ray's own name for a bit of the head node: Tune must give a trial something, and its devices are its stages'."""
FREE = ("trials", "parallel", "scheduler", "grace", "reduction_factor")
"""What may change between two starts of a sweep."""


class SweepSignals(StopSignals):
    """Signals ask the trials to stop; no other one begins."""

    def __init__(self, console: Console, trials: Trials) -> None:
        super().__init__(lambda text: console.print(text, highlight=False))
        self.trials = trials

    def handle(self, number: int, frame: Any) -> None:
        """Raises Terminated at the second one, and before trials begin."""
        if self.asked or not self.trials.held:
            raise Terminated("stopped")
        self.asked = True
        self.say("asked to stop: the trials at work save what they have; a second signal ends the sweep at once")
        self.trials.ask_to_stop()


class Sweep:
    """One driver of a sweep."""

    def __init__(self, config: Config, store: Store, run_dir: Path, console: Console) -> None:
        from sandwiching.launch.sweep.study import Suggestions

        assert config.sweep is not None
        self.config, self.sweep, self.store, self.run_dir, self.console = config, config.sweep, store, run_dir, console
        self.total = number_of_trials(config.sweep)
        self.trials = Trials(run_dir)
        # Of this driver alone, for what Tune writes.
        self.scratch = run_dir / "tune" / f"{socket.gethostname()}-{os.getpid()}"
        self.signals = SweepSignals(console, self.trials)
        self.suggestions = Suggestions(config.sweep, run_dir)
        with self.trials.alone():
            for record in self.trials.read():
                if record.final:
                    self.suggestions.tell(record)

    def begin(self) -> TrialRecord | None:
        """The next trial: one that was interrupted or failed, or a new one; None when there is none to begin."""
        while not self.signals.asked:
            with self.trials.alone():
                record = self.trials.unfinished() or self._new()
            if record is None or self._configured(record):
                delete_leftovers(self.trials.read(), self.store, self.config.resources)
                if self.signals.asked:
                    self.trials.ask_to_stop()
                if record is not None:
                    self._say(begun_line(record))
                return record
        return None

    def end(self, record: TrialRecord) -> None:
        """A trial ended: remember it for good, and say so."""
        if record.final:
            with self.trials.alone():
                self.suggestions.tell(record)
        self._say(ended_line(record, self.sweep))

    def _say(self, line: str) -> None:
        self.console.print(line, highlight=False, soft_wrap=True, markup=False)

    def _configured(self, record: TrialRecord) -> bool:
        """Write the trial's config; params that do not fit together are the trial's failure."""
        try:
            text = to_yaml(trial_config(self.config, record))
        except ConfigError as error:
            failed = replace(record.ending("failed", str(error)), failures=MOST_TRIES)
            self.trials.write(failed)
            self.end(failed)
            self.trials.release(record.number)
            return False
        write_atomic(self.trials.folder(record.number) / "config.yaml", text)
        return True

    def _new(self) -> TrialRecord | None:
        begun = {record.number for record in self.trials.read()}
        new = self.suggestions.new(self.total, begun)
        return None if new is None else self.trials.add(*new)


def run_sweep(config: Config, store: Store, run_dir: Path, attempt: Attempt) -> None:
    """Run what is left of a sweep, then write and show its outcome.

    Raises Stopped after a signal, RuntimeError when every trial failed or the cluster failed some, and ValueError
    before any model is loaded.
    """
    from sandwiching.launch.preflight import refuse_bad_input

    block = config.sweep
    assert block is not None
    set_library_environment(config.resources.gpus)
    asked, store, run_dir = with_absolute_paths(config), Store(store.root.resolve()), run_dir.resolve()
    config, console = replace(asked, resources=share_of_a_trial(asked)), attempt.console
    with Trials(run_dir).alone():
        refuse_another_sweep(config, run_dir)
    graph = trial_graph(prepared_graph(config, console), config, block.metric)
    missing = [node for node in graph.nodes if node.state(store) != "done"]
    refuse_bad_input(missing, run_dir, config.resources)
    sweep = Sweep(config, store, run_dir, console)
    require_looks(config, sweep.trials.read(), sweep.total, store)
    if sum(record.final for record in sweep.trials.read()) < sweep.total:
        drive(sweep, attempt.abandon)
    records = sweep.trials.read()
    delete_leftovers(records, store, config.resources)
    ended = [record for record in records if record.final]
    outcome = write_outcome(asked, records, run_dir, store)
    show_outcome(outcome, console)
    if sweep.signals.asked:
        raise Stopped(f"the sweep stopped with {len(ended)} of {sweep.total} trials ended")
    lost = [record for record in records if record.state == "interrupted" and record.faults]
    if lost:
        raise RuntimeError(
            f"{len(lost)} of {sweep.total} trials lost their processes, nodes or disk; trial {lost[-1].number}: "
            f"{lost[-1].error}"
        )
    if records and all(record.state == "failed" for record in records):
        raise RuntimeError(f"every trial failed; trial {records[-1].number}: {records[-1].error}")


def drive(sweep: Sweep, abandon: Callable[[BaseException], None]) -> None:
    """Run Tune to its end, in a thread: the main one is for signals, which Tune would take."""
    import ray

    start_ray(all_at_once(sweep.config))
    watch = HeadWatch(abandon)
    watch.start(ray.get_runtime_context().gcs_address)
    try:
        sweep.signals.install()
        failures: list[BaseException] = []
        thread = threading.Thread(target=_fit, args=(sweep, failures), daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(WAIT_SECONDS)
        if failures:
            raise failures[0]
    finally:
        watch.stop()
        ray.shutdown()
        shutil.rmtree(sweep.scratch, ignore_errors=True)


def _fit(sweep: Sweep, failures: list[BaseException]) -> None:
    try:
        _tuner(sweep).fit()
    except BaseException as error:  # noqa: BLE001  raised again in the main thread
        failures.append(error)


def _tuner(sweep: Sweep) -> Any:
    # Its own records would be a second truth beside the files.
    os.environ.update({"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1"})
    from ray import tune

    from sandwiching.launch.sweep.tune import FileASHA, FileSearch, Hooks, TrialActor

    settings = sweep.sweep
    given = {"store": str(sweep.store.root), "metric": settings.metric, "gpus": sweep.config.resources.gpus}
    steps = most_steps(sweep.config)
    asha = settings.scheduler == "asha" and steps - 1 >= settings.grace
    return tune.Tuner(
        tune.with_resources(TrialActor, tune.PlacementGroupFactory([{HEAD: 0.001}])),
        tune_config=tune.TuneConfig(
            search_alg=FileSearch(settings, sweep.trials, Hooks(sweep.begin, sweep.end), given),
            scheduler=FileASHA(settings, sweep.trials, steps) if asha else None,
            num_samples=-1,
            max_concurrent_trials=settings.parallel,
            reuse_actors=False,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name=sweep.scratch.name,
            storage_path=str(sweep.scratch.parent),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    )


def trial_config(config: Config, record: TrialRecord) -> Config:
    """The whole config of a trial. Raises ConfigError when its params do not fit together."""
    named = replace(config, name=f"{config.name}-{record.number}")
    return with_settings(named, record.params, f"trial {record.number}")


def share_of_a_trial(config: Config) -> ResourcesConfig:
    """Resources of one trial: without resources.cpus, an equal share of the cores that are here.

    It waits longer for room: one that asha ended gives its devices back at its next safe point.
    """
    assert config.sweep is not None
    cpus = config.resources.cpus or max(1, usable_cpus(config.resources) // config.sweep.parallel)
    timeout = max(config.resources.start_timeout, STOP_SECONDS)
    return replace(config.resources, cpus=cpus, start_timeout=timeout)


def refuse_another_sweep(config: Config, run_dir: Path) -> None:
    """Remember the sweep's config; raise ValueError when other trials of the folder were made with another one."""
    run_dir.mkdir(parents=True, exist_ok=True)
    file = run_dir / "config.yaml"
    if file.exists() and list((run_dir / "trials").glob("*/trial.json")):
        differ = differences(decisive(load(file)), decisive(config))
        if differ:
            raise ValueError(
                f"{run_dir} holds trials of another sweep: {', '.join(differ)} changed since; "
                "give this one a name or a --run-dir of its own"
            )
    write_atomic(file, to_yaml(config))


def decisive(config: Config) -> dict[str, Any]:
    """What decides the results of trials."""
    settings = plain(config)
    if not is_expert_metric(config.sweep.metric if config.sweep is not None else ""):
        del settings["check"]
    for block in ("resources", "tracking", "slurm", "ray", "conditions", "name"):
        del settings[block]
    assert isinstance(config.sweep, SweepConfig)
    settings["sweep"] = {name: value for name, value in settings["sweep"].items() if name not in FREE}
    return settings


def differences(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted keys at which two nested dicts differ."""
    found = []
    for key in {**one, **other}:
        left, right = one.get(key), other.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found += differences(left, right, f"{prefix}{key}.")
        elif left != right:
            found.append(f"{prefix}{key}")
    return found
