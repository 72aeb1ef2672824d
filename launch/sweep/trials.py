"""Trials as files: what they were given, how far they came, and which driver has which. Torch-free.

runs/<name>/trials/<n>/    a run folder of its own, and trial.json
runs/<name>/trials/<n>/stop   asks the trial to save what it has and end

A driver holds the lock of each trial that it runs, and alone writes its trial.json. A trial that is `running` with
nobody holding its lock was interrupted.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from sandwiching.training.artifacts import STOP, write_atomic

State = Literal["running", "done", "pruned", "failed", "interrupted"]
FILE = "trial.json"
MOST_TRIES = 2
"""Times that a trial which fails is begun; one that is stopped goes on as often as it takes."""
MOST_FAULTS = 20
"""Times that a trial loses its processes, nodes or disk; it counts as failed after them."""
FAULTS_A_START = 3
"""The same of one driver, which leaves the trial alone after them: the next start goes on with it."""


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """trial.json. results: the objective by step; value: the last of them, or of the finished stages.

    seconds: of all starts together. stages: artifacts by name within the trial. faults: of the cluster, that it met.
    """

    number: int
    params: dict[str, Any]
    state: State = "running"
    failures: int = 0
    faults: int = 0
    began: float = field(default_factory=time.time)
    ended: float | None = None
    seconds: float = 0.0
    results: dict[int, float] = field(default_factory=dict)
    value: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    stages: dict[str, str] = field(default_factory=dict)

    @property
    def final(self) -> bool:
        """Whether it is never begun again."""
        return self.state in ("done", "pruned") or (self.state == "failed" and self.failures >= MOST_TRIES)

    def with_result(self, step: int, value: float, metrics: dict[str, float]) -> TrialRecord:
        """After one more step, or the same step again."""
        return replace(self, results={**self.results, step: value}, value=value, metrics=metrics)

    def ending(self, state: State, error: str | None = None) -> TrialRecord:
        """At the end of a start."""
        now = time.time()
        failures = self.failures + (state == "failed")
        seconds = self.seconds + now - self.began
        return replace(self, state=state, ended=now, seconds=seconds, error=error, failures=failures)

    def losing(self, error: str | None) -> TrialRecord:
        """At the end of a start that a fault of the cluster ended: interrupted, and failed for good after too many."""
        ended = replace(self.ending("interrupted", error), faults=self.faults + 1)
        return ended if ended.faults < MOST_FAULTS else replace(ended, state="failed", failures=MOST_TRIES)


def read_trial(folder: Path) -> TrialRecord:
    """The trial of a folder."""
    fields = json.loads((folder / FILE).read_text())
    return TrialRecord(**{**fields, "results": {int(step): value for step, value in fields["results"].items()}})


class Trials:
    """All trials of a run folder. Several drivers, on several nodes, may have one open."""

    def __init__(self, run_dir: Path) -> None:
        self.root = run_dir / "trials"
        self.opened = time.time()
        self.held: dict[int, int] = {}
        self.faults: Counter[int] = Counter()

    def folder(self, number: int) -> Path:
        """A trial's run folder."""
        return self.root / str(number)

    def read(self) -> list[TrialRecord]:
        """All trials by number."""
        files = sorted(self.root.glob(f"*/{FILE}"), key=lambda file: int(file.parent.name))
        return [read_trial(file.parent) for file in files]

    def write(self, record: TrialRecord) -> None:
        """Only for a trial that is held."""
        assert record.number in self.held
        write_atomic(self.folder(record.number) / FILE, json.dumps(asdict(record), indent=1))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other driver begins a trial meanwhile."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def hold(self, number: int) -> bool:
        """Take a trial's lock; False while another driver has it."""
        folder = self.folder(number)
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self.held[number] = lock
        (folder / STOP).unlink(missing_ok=True)
        return True

    def lose(self, record: TrialRecord, error: str | None) -> TrialRecord:
        """A fault of the cluster ended this start of a trial."""
        self.faults[record.number] += 1
        return record.losing(error)

    def release(self, number: int) -> None:
        """Give a lock back."""
        os.close(self.held.pop(number))

    def unfinished(self) -> TrialRecord | None:
        """The first trial that goes on, or is tried again; it is held then, and running. Call it `alone`."""
        for found in self.read():
            again = found.state == "failed" and (found.ended or 0.0) < self.opened
            sick = self.faults[found.number] >= FAULTS_A_START
            waits = (found.state in ("running", "interrupted") and not sick) or (again and not found.final)
            if waits and found.number not in self.held and self.hold(found.number):
                # What it was when its driver was killed is not known to the second.
                record = replace(read_trial(self.folder(found.number)), state="running", began=time.time(), error=None)
                self.write(record)
                return record
        return None

    def add(self, number: int, params: dict[str, Any]) -> TrialRecord:
        """A new trial, held. Call it `alone`."""
        assert self.hold(number)
        record = TrialRecord(number, params)
        self.write(record)
        return record

    def ask_to_stop(self) -> None:
        """Ask every trial that is held."""
        for number in list(self.held):
            (self.folder(number) / STOP).touch()
