"""Artifacts: one folder a stage, named by a key of everything that decides its content.

    <store>/<stage>-<key>/  manifest.json (written last)  model/  adapter/  snapshots/  checkpoints/  metrics.jsonl

Stages write into the folder of their key; the manifest makes it an artifact. Torch-free, so that `plan` can read it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from sandwiching.tasks.atomic import write_atomic

MANIFEST = "manifest.json"
STOP = "stop"
UNHASHED = ("checkpoints", "attempt", "progress.json", "cache", STOP, MANIFEST)
LOCK_SECONDS = 1.0
"""Between two looks at a lock that another process holds."""
State = Literal["done", "resume", "new"]


class StaleAttempt(RuntimeError):
    """A newer attempt owns the folder; what this process holds must not be written."""


class Stopped(RuntimeError):
    """The stage was asked to stop, and ended where what it has is saved."""


class StoppedByGate(RuntimeError):
    """The judgements carry no signal, or are copied, and the config says to stop then."""


class WaitingForPeople(RuntimeError):
    """The stage cannot go on before people have done their part; the message says which, and where it is to lie."""


class BrokenArtifact(ValueError):
    """A parent artifact is missing, incomplete or not what its manifest says."""


def stage_key(parts: Mapping[str, Any]) -> str:
    """16 hex digits of the canonical JSON of `parts`."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class StageFolder:
    """Where one attempt of a stage writes. Plain data: it travels to workers."""

    path: Path
    attempt: int

    @property
    def model(self) -> Path:
        """What the next stage consumes, in Hugging Face format."""
        return self.path / "model"

    @property
    def adapter(self) -> Path:
        """The LoRA adapter, beside the merged model."""
        return self.path / "adapter"

    @property
    def snapshots(self) -> Path:
        """Weights along the training, never pruned."""
        return self.path / "snapshots"

    @property
    def checkpoints(self) -> Path:
        """What this stage resumes from."""
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        """One JSON record a step."""
        return self.path / "metrics.jsonl"

    @property
    def cache(self) -> Path:
        """Intermediate results that make a resume faster; not part of the artifact."""
        return self.path / "cache"

    def check_attempt(self) -> None:
        """Raise StaleAttempt when a newer attempt owns the folder: call it before every rename."""
        current = _attempt(self.path)
        if current != self.attempt:
            raise StaleAttempt(f"{self.path}: this is attempt {self.attempt}, but attempt {current} owns the folder")

    def ask_to_stop(self) -> None:
        """Ask the stage, whose processes may be on other nodes, to save what it has and end."""
        (self.path / STOP).touch()

    def asked_to_stop(self) -> bool:
        """Stages look after each step of theirs."""
        return (self.path / STOP).exists()

    def stop_if_asked(self) -> None:
        """Raise Stopped when asked to: for stages whose parts are saved one by one."""
        if self.asked_to_stop():
            raise Stopped(f"{self.path.name} stopped")

    def report(self, step: int, total: int) -> None:
        """Say how far the stage is, for progress bars and `status`."""
        write_atomic(self.path / "progress.json", json.dumps({"step": step, "total": total, "time": time.time()}))


@dataclass(frozen=True, slots=True)
class Manifest:
    """manifest.json: what an artifact is and where it came from. `files` maps a relative path to [bytes, sha256]."""

    stage: str
    version: int
    key: str
    inputs: dict[str, Any]
    parents: dict[str, str]
    metrics: dict[str, float]
    files: dict[str, tuple[int, str]]
    seconds: float
    environment: dict[str, Any] = field(default_factory=dict)


def _locks(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _attempt(path: Path) -> int:
    file = path / "attempt"
    return int(file.read_text()) if file.exists() else 0


def _content_files(path: Path) -> list[str]:
    relative = (file.relative_to(path) for file in sorted(path.rglob("*")) if file.is_file())
    return [str(name) for name in relative if name.parts[0] not in UNHASHED and not name.name.startswith(".")]


def write_manifest(folder: StageFolder, manifest: Mapping[str, Any]) -> Manifest:
    """Hash the folder's files and make it an artifact; `manifest` holds all fields but `files`."""
    files = {}
    for name in _content_files(folder.path):
        file = folder.path / name
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
        files[name] = (file.stat().st_size, file_sha256(file))
    whole = Manifest(files=files, **manifest)
    folder.check_attempt()
    fields = {name: getattr(whole, name) for name in Manifest.__slots__}
    write_atomic(folder.path / MANIFEST, json.dumps(fields, indent=1, default=str))
    return whole


def read_manifest(path: Path, check_hashes: bool = False) -> Manifest:
    """The manifest of the artifact in `path`, after checking that it is complete.

    Raises BrokenArtifact, naming the file that is missing or differs.
    """
    file = path / MANIFEST
    if not file.exists():
        raise BrokenArtifact(f"{path} is not a finished artifact (no {MANIFEST}): run the stage that makes it first")
    manifest = Manifest(**json.loads(file.read_text()))
    for name, (size, digest) in manifest.files.items():
        content = path / name
        if not content.exists() or content.stat().st_size != size:
            raise BrokenArtifact(f"{content} is missing or has changed size: delete {path} to make it again")
        if check_hashes and file_sha256(content) != digest:
            raise BrokenArtifact(f"{content} differs from its manifest's sha256: delete {path} to make it again")
    return manifest


@dataclass(frozen=True, slots=True)
class Store:
    """All artifacts of a project: arms, runs and sweep trials share what has the same key."""

    root: Path

    def folder(self, stage: str, key: str) -> Path:
        """Where the artifact lies or will lie."""
        return self.root / f"{stage}-{key}"

    def state(self, stage: str, key: str) -> State:
        """done, resume (started, not finished) or new."""
        path = self.folder(stage, key)
        if (path / MANIFEST).exists():
            return "done"
        return "resume" if (path / "attempt").exists() else "new"

    @contextmanager
    def claim(
        self, stage: str, key: str, on_wait: Callable[[str], None], may_wait: Callable[[], None] = lambda: None
    ) -> Iterator[StageFolder]:
        """Own the folder of a key for one attempt, waiting (after telling `on_wait`) while another process does.

        may_wait: asked every second of that; raises to wait no longer.
        """
        path = self.folder(stage, key)
        path.mkdir(parents=True, exist_ok=True)
        with (self.root / f".{path.name}.lock").open("w") as lock:
            told = False
            while not _locks(lock):
                if not told:
                    on_wait(f"another process works on {path.name}; waiting for it")
                told = True
                may_wait()
                time.sleep(LOCK_SECONDS)
            attempt = _attempt(path) + 1
            write_atomic(path / "attempt", str(attempt))
            (path / STOP).unlink(missing_ok=True)
            yield StageFolder(path, attempt)
