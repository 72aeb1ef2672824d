"""A trial at work: the stages of its config, as `sandwich run` would do them, and what there is to report meanwhile."""

from __future__ import annotations

import json
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sandwiching.configs.load import load
from sandwiching.launch.failures import explain, of_the_cluster, root_cause
from sandwiching.launch.graph import build_graph
from sandwiching.launch.looks import prepare_checks
from sandwiching.launch.nodes import Graph, Node
from sandwiching.launch.plan import make_plan
from sandwiching.launch.run import Runner, run
from sandwiching.launch.status import PLAN_FILE
from sandwiching.launch.stopping import StopSignals
from sandwiching.launch.sweep.objective import final, measured_nodes, series, trial_graph
from sandwiching.launch.tracking import TrackerProcess
from sandwiching.training.artifacts import STOP, StageFolder, Stopped, Store, write_atomic

LOG = "log.txt"
POLL_SECONDS = 0.2


class TrialSignals(StopSignals):
    """In place of signals, which reach the driver alone: the trial asks for itself."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(say)
        self.lock = threading.Lock()

    def install(self) -> None:
        """There is none: a worker of Ray's, and not its main thread."""

    def stop(self) -> None:
        """Ask the stages at work, and those that would be next."""
        with self.lock:
            self.asked = True
            for folder in self.at_work:
                folder.ask_to_stop()

    @contextmanager
    def working(self, folders: Sequence[StageFolder]) -> Iterator[None]:
        """See StopSignals. Raises Terminated at once when the trial was asked while it waited for the folders."""
        with self.lock:
            self.may_wait()
            self.at_work = folders
        with super().working(folders):
            yield


class Notes:
    """Watches for a trial: a line in its log, and the names of its artifacts."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / LOG

    def watch(self, folders: dict[str, Path]) -> None:
        """See Watcher."""
        for name, folder in folders.items():
            self.say(f"begins  {name}  {folder}")

    def done(self, name: str, skipped: bool) -> None:
        """See Watcher."""
        self.say(f"{'finished before' if skipped else 'done'}  {name}")

    def say(self, text: str) -> None:
        """See Watcher."""
        with self.file.open("a") as stream:
            stream.write(f"{text}\n")


class TrialWork:
    """Runs a trial's stages in a thread. folder: its run folder, with config.yaml."""

    def __init__(self, folder: Path, store: Store, metric: str, make_runner: Callable[[Any, Path], Runner]) -> None:
        self.folder = folder
        self.store = store
        self.metric = metric
        self.make_runner = make_runner
        self.notes = Notes(folder)
        self.signals = TrialSignals(self.notes.say)
        self.measured: list[Node] = []
        self.stages: dict[str, str] = {}
        self.steps = 0
        self.told = 0
        self.outcome: dict[str, Any] = {}
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def report(self) -> dict[str, Any]:
        """What is new: the next step of the objective, or how the trial ended; waits for it."""
        while True:
            ended = not self.thread.is_alive()
            if (self.folder / STOP).exists():
                self.signals.stop()
            points = series(self.measured, self.store, self.metric) if self.measured else []
            if len(points) > self.told and not self.signals.asked:
                point = points[self.told]
                self.told += 1
                return {**self._state("running"), "step": point.step, "value": point.value, "metrics": point.metrics}
            if ended:
                return {**self._state(self.outcome["state"]), **self.outcome, "done": True}
            self.thread.join(POLL_SECONDS)

    def stop(self) -> None:
        """Ask the trial to save and end, and wait for that."""
        self.signals.stop()
        self.thread.join()

    def _state(self, state: str) -> dict[str, Any]:
        return {"state": state, "steps": self.steps, "stages": dict(self.stages)}

    def _run(self) -> None:
        try:
            self.outcome = self._train()
        except (KeyboardInterrupt, Exception) as error:  # noqa: BLE001  what a trial dies of is its result
            with (self.folder / LOG).open("a") as stream:
                traceback.print_exception(error, file=stream)
            stopped = isinstance(root_cause(error), Stopped | KeyboardInterrupt)
            state = "interrupted" if stopped else "lost" if of_the_cluster(error) else "failed"
            self.outcome = {"state": state, "error": explain(error)[1]}

    def _train(self) -> dict[str, Any]:
        config = load(self.folder / "config.yaml")
        whole = build_graph(config)
        graph = trial_graph(whole, config, self.metric)
        prepare_checks(config, graph.nodes, self.store)
        plan = make_plan(config, graph, self.store, self.folder)
        write_atomic(self.folder / PLAN_FILE, json.dumps(plan.as_json(), indent=1))
        self.stages = _places(graph, self.store)
        measured = measured_nodes(graph, config, self.metric)
        self.steps = min((node.blocks["ppo"].steps for node in measured if node.stage == "ppo"), default=0)
        self.measured = measured
        runner = self.make_runner(config, self.store.root)
        with TrackerProcess(self.folder, config.tracking.project, config.tracking.to):
            run(config, graph, self.store, self.folder, runner, self.notes, self.signals)
        end = final(measured, self.store, self.metric)
        return {"state": "done", "step": end.step, "value": end.value, "metrics": end.metrics}


def _places(graph: Graph, store: Store) -> dict[str, str]:
    """Artifact folders by the stage's name in the trial."""
    return {node.slug: folder.name for node in graph.nodes if (folder := node.folder(store)) is not None}
