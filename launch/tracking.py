"""Copies metrics.jsonl to trackers (TensorBoard, W&B, MLflow, ...), in a process of its own.

It reads what the stages write and nothing reads what it writes: a tracker that fails or hangs cannot change a run. It
ends when its standard input is closed.

    python -m sandwiching.launch.tracking RUN_DIR PROJECT tensorboard wandb
"""

from __future__ import annotations

import json
import logging
import select
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from sandwiching.training.artifacts import write_atomic
from sandwiching.training.metrics import read_metrics

POLL_SECONDS = 2.0
FINISH_SECONDS = 60
log = logging.getLogger(__name__)


class TrackerProcess:
    """The copying process, alive inside the context; with no trackers, nothing."""

    def __init__(self, run_dir: Path, project: str, trackers: list[str]) -> None:
        self.command = [sys.executable, "-m", "sandwiching.launch.tracking", str(run_dir), project, *trackers]
        self.trackers = trackers
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> TrackerProcess:
        if self.trackers:
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
            try:
                self.process.wait(FINISH_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                log.warning("trackers %s did not finish within %d s", self.trackers, FINISH_SECONDS)
            if self.process.returncode:
                log.warning("trackers %s ended with exit code %d", self.trackers, self.process.returncode)


class Copier:
    """Remembers how far each stage was copied, in RUN_DIR/tracking/copied.json, so that a resume repeats nothing."""

    def __init__(self, run_dir: Path, project: str, kinds: list[str]) -> None:
        self.run_dir = run_dir
        self.project = project
        self.kinds = kinds
        self.folder = run_dir / "tracking"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.state_file = self.folder / "copied.json"
        self.copied: dict[str, int] = json.loads(self.state_file.read_text()) if self.state_file.exists() else {}
        self.trackers: dict[str, list[Any]] = {}

    def copy(self) -> None:
        """Log every record that is new."""
        for link in sorted((self.run_dir / "artifacts").glob("[!.]*")):
            name, artifact = link.name, link.resolve().name
            for record in read_metrics(link / "metrics.jsonl"):
                step = record.pop("step")
                numbers = {name: value for name, value in record.items() if isinstance(value, int | float)}
                if step > self.copied.get(artifact, 0):
                    for tracker in self._trackers(name, artifact):
                        tracker.log(numbers, step=step)
                    self.copied[artifact] = step
        write_atomic(self.state_file, json.dumps(self.copied))

    def finish(self) -> None:
        """Flush and close all trackers."""
        for tracker in (tracker for trackers in self.trackers.values() for tracker in trackers):
            tracker.finish()

    def _trackers(self, name: str, artifact: str) -> list[Any]:
        if name not in self.trackers:
            self.trackers[name] = [self._start(kind, name, artifact) for kind in self.kinds]
        return self.trackers[name]

    def _start(self, kind: str, name: str, artifact: str) -> Any:
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        tracker_class = LOGGER_TYPE_TO_CLASS[kind]
        if tracker_class.requires_logging_directory:
            tracker = tracker_class(name, logging_dir=str(self.folder))
        elif kind == "wandb":
            group = self.run_dir.resolve().name
            tracker = tracker_class(self.project, name=name, group=group, id=artifact, resume="allow")
        else:
            tracker = tracker_class(self.project)
        tracker.start()
        return tracker


def main(run_dir: str, project: str, *kinds: str) -> None:
    """Copy until standard input is closed, and once more then."""
    copier = Copier(Path(run_dir), project, list(kinds))
    while not select.select([sys.stdin], [], [], POLL_SECONDS)[0]:
        copier.copy()
    copier.copy()
    copier.finish()


if __name__ == "__main__":
    main(*sys.argv[1:])
