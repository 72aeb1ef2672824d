"""Checkpoints beside the training: a copy in memory holds it up, disks do not.

rank     state -> bytes -> files, in the background -> a report when all of them are written, or one could not be
rank 0   in the background: reports of all ranks -> sealed checkpoint (checkpoints.py) -> old ones pruned
"""

from __future__ import annotations

import io
import json
import queue
import threading
import time
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any

import torch
from deepspeed import DeepSpeedEngine
from deepspeed.runtime.checkpoint_engine import TorchCheckpointEngine

from sandwiching.configs.schema import ResourcesConfig
from sandwiching.policy.background import background
from sandwiching.training import checkpoints
from sandwiching.training.artifacts import StageFolder

REPORTS = "written_by_rank_"
POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a file could not be written."""

    number: int
    message: str
    file: str


class BackgroundFiles:
    """Files of one rank, written one after another by a thread."""

    def __init__(self) -> None:
        self.waiting: queue.SimpleQueue[tuple[Path, bytes | memoryview] | None] = queue.SimpleQueue()
        self.failures: list[Failure] = []
        threading.Thread(target=self._write_all, daemon=True).start()

    def save(self, state: Any, file: Path) -> None:
        """What torch.save would write, of the state as it is now."""
        content = io.BytesIO()
        torch.save(state, content)
        self.waiting.put((file, content.getbuffer()))

    def finish(self, directory: Path, rank: int) -> None:
        """Report, when all that was given so far is written."""
        self.waiting.put((directory / f"{REPORTS}{rank}", b""))

    def close(self) -> None:
        """No file comes any more."""
        self.waiting.put(None)

    def _write_all(self) -> None:
        while (given := self.waiting.get()) is not None:
            file, content = given
            try:
                if file.name.startswith(REPORTS):
                    content = json.dumps([asdict(failure) for failure in self.failures]).encode()
                    self.failures = []
                file.with_name(f".{file.name}").write_bytes(content)
                file.with_name(f".{file.name}").replace(file)
            except OSError as error:
                self.failures.append(Failure(error.errno or 0, error.strerror or str(error), str(file)))


class _CheckpointEngine(TorchCheckpointEngine):
    """What DeepSpeed saves through."""

    def __init__(self, files: BackgroundFiles) -> None:
        super().__init__()
        self.files = files

    def save(self, state_dict: Any, path: str) -> None:
        self.files.save(state_dict, Path(path))


def save_in_background(engine: DeepSpeedEngine, files: BackgroundFiles) -> None:
    """Have DeepSpeed write its checkpoints by `files`."""
    engine.checkpoint_engine = _CheckpointEngine(files)  # pyright: ignore[reportAttributeAccessIssue]


class Saver:
    """Checkpoints of one stage, on rank 0. At its end as a context the last one is sealed, or dropped on an error."""

    def __init__(self, folder: StageFolder, ranks: int, resources: ResourcesConfig) -> None:
        self.folder = folder
        self.ranks = ranks
        self.resources = resources
        self.dropped = threading.Event()
        self.running: Future[None] | None = None
        self.started = 0.0
        self.held = 0.0

    def __enter__(self) -> Saver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.wait()
        self.dropped.set()

    def begin(self, step: int) -> Path:
        """A directory for the checkpoint of `step`, when the one before is sealed. Raises what went wrong with that."""
        self.started = perf_counter()
        self.wait()
        return checkpoints.begin(self.folder, step)

    def seal(self, temporary: Path, step: int) -> None:
        """All ranks have given their files; with resources.async_save they may still be writing."""
        self.running = background(lambda: self._seal(temporary, step))
        if not self.resources.async_save:
            self.wait()
        self.held = perf_counter() - self.started

    def take_held(self) -> dict[str, float]:
        """A metric of the step after a checkpoint; nothing after others."""
        held, self.held = self.held, 0.0
        return {"time/checkpoint": held} if held else {}

    def check(self) -> None:
        """Raise what went wrong, if it is known by now."""
        if self.running is not None and self.running.done():
            self.wait()

    def wait(self) -> None:
        """Until the newest checkpoint is sealed. Raises OSError for a file that could not be written."""
        running, self.running = self.running, None
        if running is not None:
            running.result()

    def _seal(self, temporary: Path, step: int) -> None:
        reports = [temporary / f"{REPORTS}{rank}" for rank in range(self.ranks)]
        while not all(report.exists() for report in reports):
            if self.dropped.is_set():
                return
            time.sleep(POLL_SECONDS)
        failures = [Failure(**failure) for report in reports for failure in json.loads(report.read_text())]
        if failures:
            raise OSError(failures[0].number, failures[0].message, failures[0].file)
        for report in reports:
            report.unlink()
        checkpoints.seal(temporary, self.folder.checkpoints / f"step_{step}", self.folder)
        checkpoints.prune(self.folder.checkpoints, self.resources.keep, self.resources.keep_best)
