"""Checkpoints beside the training: a copy in memory holds it up, disks do not.

ranks    state -> bytes -> files, written in the background
driver   between steps: are all written? -> in the background: sealed (checkpoints.py), its cost noted, old ones pruned
"""

from __future__ import annotations

import io
import logging
import queue
import threading
from concurrent.futures import Future
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Protocol

import torch
from deepspeed import DeepSpeedEngine
from deepspeed.runtime.checkpoint_engine import TorchCheckpointEngine

from sandwiching.configs.schema import ResourcesConfig
from sandwiching.policy.background import background
from sandwiching.training import checkpoints, distributed
from sandwiching.training.artifacts import StageFolder
from sandwiching.training.checkpoints import COSTS
from sandwiching.training.metrics import MetricsLog

log = logging.getLogger(__name__)


class Files(Protocol):
    """Files of all ranks, some of which may not be written yet."""

    def writing(self) -> bool:
        """Whether some are under way. Raises what went wrong with one."""
        ...

    def flush(self) -> None:
        """Until all are written. Raises what went wrong with one."""
        ...


class BackgroundFiles:
    """Files of this rank, written one after another by a thread."""

    def __init__(self) -> None:
        self.waiting: queue.Queue[tuple[Path, memoryview] | None] = queue.Queue()
        self.failure: Exception | None = None
        threading.Thread(target=self._write_all, daemon=True).start()

    def save(self, state: Any, file: Path) -> None:
        """What torch.save would write, of the state as it is now."""
        content = io.BytesIO()
        torch.save(state, content)
        self.waiting.put((file, content.getbuffer()))

    def writing(self) -> bool:
        """See Files."""
        self._raise()
        return self.waiting.unfinished_tasks > 0

    def flush(self) -> None:
        """See Files."""
        self.waiting.join()
        self._raise()

    def close(self) -> None:
        """No file comes any more."""
        self.waiting.put(None)

    def _raise(self) -> None:
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure

    def _write_all(self) -> None:
        while (given := self.waiting.get()) is not None:
            file, content = given
            try:
                file.write_bytes(content)
            except Exception as error:  # noqa: BLE001 - raised where the training looks next
                self.failure = self.failure or error
                # What is there of it takes the room that others need.
                if file.is_file():
                    file.unlink()
            finally:
                self.waiting.task_done()


class RankFiles:
    """Files of all ranks of this process group; all must call."""

    def __init__(self, own: BackgroundFiles) -> None:
        self.own = own

    def writing(self) -> bool:
        """See Files."""
        return bool(distributed.all_sum(torch.tensor(float(self.own.writing()))))

    def flush(self) -> None:
        """See Files."""
        self.own.flush()
        distributed.barrier()


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
    """Checkpoints of one stage. At its end as a context the last one is sealed; on an error, only what is written.

    seals: whether this process does; on every rank of a process group all else must be called too.
    """

    def __init__(self, folder: StageFolder, files: Files, resources: ResourcesConfig, seals: bool = True) -> None:
        self.folder = folder
        self.files = files
        self.resources = resources
        self.seals = seals
        self.unsealed: tuple[Path, int, float] | None = None
        self.began = 0.0
        self.sealing: Future[None] | None = None
        self.started = 0.0
        self.held = 0.0

    def __enter__(self) -> Saver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.wait()
        elif self.sealing is not None and (wrong := self.sealing.exception()):
            # Waited for: who resumes must not find it half done.
            log.warning("the newest checkpoint of %s was not sealed: %s", self.folder.path, wrong)

    def begin(self, step: int) -> Path:
        """A directory for the checkpoint of `step`, when the one before is sealed; made by the process that seals."""
        self.started = perf_counter()
        self.wait()
        self.began = perf_counter()
        return checkpoints.begin(self.folder, step) if self.seals else checkpoints.unsealed(self.folder, step)

    def end(self, temporary: Path, step: int) -> None:
        """All files are given; with resources.async_save they may still be written."""
        self.unsealed = temporary, step, self.began
        if not self.resources.async_save:
            self.wait()
        self.held = perf_counter() - self.started

    def take_held(self) -> dict[str, float]:
        """A metric of the step after a checkpoint; nothing after others."""
        held, self.held = self.held, 0.0
        return {"time/checkpoint": held} if held else {}

    def look(self) -> None:
        """After each step: seal what is written by now. Raises what went wrong, as OSError of a full disk."""
        if self.unsealed is not None and not self.files.writing():
            self._seal()
        if self.sealing is not None and self.sealing.done():
            self.sealing.result()

    def wait(self) -> None:
        """Until the newest checkpoint is sealed. Raises what went wrong."""
        if self.unsealed is not None:
            self.files.flush()
            self._seal()
        sealing, self.sealing = self.sealing, None
        if sealing is not None:
            sealing.result()

    def _seal(self) -> None:
        assert self.unsealed is not None
        given, self.unsealed = self.unsealed, None
        if self.seals:
            self.sealing = background(lambda: self._seal_and_prune(*given))

    def _seal_and_prune(self, temporary: Path, step: int, began: float) -> None:
        size = checkpoints.seal(temporary, self.folder.checkpoints / f"step_{step}", self.folder)
        MetricsLog(self.folder.path / COSTS).write({"step": step, "bytes": size, "seconds": perf_counter() - began})
        checkpoints.prune(self.folder.checkpoints, self.resources.keep, self.resources.keep_best)
