"""Checkpoints that are whole or absent: written aside, hashed, renamed; the newest good one is resumed from."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sandwiching.configs.schema import BestConfig
from sandwiching.training.artifacts import StageFolder, file_sha256
from sandwiching.training.metrics import read_metrics

COMPLETE = "complete.json"
LAYOUT = "layout.json"
RECORD = "record.jsonl"
"""Of a checkpoint: the metrics of its step."""
COSTS = "checkpoints.jsonl"
"""Of a stage: step, bytes and seconds of each of its checkpoints, from the first byte in memory to the last on disk."""
log = logging.getLogger(__name__)


def step_of(path: Path) -> int:
    """N of .../step_N."""
    return int(path.name.removeprefix("step_"))


def begin(folder: StageFolder, step: int) -> Path:
    """An empty directory to write the checkpoint of `step` into; unsealed, so that no reader takes it."""
    for left_over in folder.checkpoints.glob(".*"):
        shutil.rmtree(left_over, ignore_errors=True)
    temporary = unsealed(folder, step)
    temporary.mkdir(parents=True)
    return temporary


def unsealed(folder: StageFolder, step: int) -> Path:
    """Named by the attempt: workers of a killed attempt may write for some seconds more, into theirs."""
    return folder.checkpoints / f".writing_{folder.attempt}_step_{step}"


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Layout:
    """What DeepSpeed's files depend on besides the content."""

    learner_ranks: int
    zero_stage: int
    offload: bool

    def __str__(self) -> str:
        offload = ", offloaded" if self.offload else ""
        return f"{self.learner_ranks} learner ranks under ZeRO-{self.zero_stage}{offload}"


def write_layout(directory: Path, layout: Layout) -> None:
    """Note how the files in `directory` are laid out."""
    (directory / LAYOUT).write_text(json.dumps(asdict(layout)))


def read_layout(checkpoint: Path) -> Layout:
    """See write_layout."""
    return Layout(**json.loads((checkpoint / LAYOUT).read_text()))


def seal(temporary: Path, final: Path, folder: StageFolder) -> int:
    """Fsync and hash every file, list them in complete.json, and rename to `final` in one step. Returns their bytes.

    Raises StaleAttempt when a newer attempt owns the folder.
    """
    files = [file for file in sorted(temporary.rglob("*")) if file.is_file()]
    for file in files:
        _fsync(file)
    listing = {str(file.relative_to(temporary)): [file.stat().st_size, file_sha256(file)] for file in files}
    complete = temporary / COMPLETE
    complete.write_text(json.dumps(listing, indent=1))
    _fsync(complete)
    folder.check_attempt()
    old = final.with_name(f".replaced_{final.name}")
    if final.exists():
        final.replace(old)
    temporary.replace(final)
    _fsync(final.parent)
    shutil.rmtree(old, ignore_errors=True)
    return sum(size for size, _ in listing.values())


def fault(path: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    complete = path / COMPLETE
    if not complete.exists():
        return f"no {COMPLETE}"
    try:
        listing = json.loads(complete.read_text())
    except json.JSONDecodeError:
        return f"{COMPLETE} is not JSON"
    for name, (size, digest) in listing.items():
        file = path / name
        if not file.exists():
            return f"{name} is missing"
        if file.stat().st_size != size:
            return f"{name} has {file.stat().st_size} bytes, not {size}"
        if file_sha256(file) != digest:
            return f"{name} has another sha256"
    return None


def latest(checkpoints: Path) -> Path | None:
    """The newest checkpoint whose sizes and hashes hold; each bad one is named in a warning and left alone."""
    if not checkpoints.exists():
        return None
    for path in sorted(checkpoints.glob("step_*"), key=step_of, reverse=True):
        wrong = fault(path)
        if wrong is None:
            return path
        log.warning("checkpoint %s is refused: %s", path, wrong)
    return None


def last_cost(root: Path, stage: str) -> tuple[str, int, float] | None:
    """Artifact, bytes and seconds of the newest checkpoint that a stage of this kind has written into a store."""
    found = []
    for file in root.glob(f"{stage}-*/{COSTS}"):
        if records := read_metrics(file):
            found.append((file.stat().st_mtime, file.parent.name, records[-1]["bytes"], records[-1]["seconds"]))
    return max(found)[1:] if found else None


def prune(checkpoints: Path, keep: int, best: BestConfig | None = None) -> None:
    """Delete all but the newest `keep` checkpoints and the best one, by the metrics in their record.jsonl."""
    newest = sorted(checkpoints.glob("step_*"), key=step_of, reverse=True)
    kept = {*newest[:keep], *([] if best is None else _best(newest, best))}
    for path in newest:
        if path not in kept:
            shutil.rmtree(path)


def _best(paths: Sequence[Path], best: BestConfig) -> list[Path]:
    """One, or none where no checkpoint has the metric; of equal ones the first given."""
    sign = 1 if best.mode == "max" else -1
    records = [(path, record) for path in paths for record in read_metrics(path / RECORD)]
    measured = [(path, record[best.metric]) for path, record in records if best.metric in record]
    return [max(measured, key=lambda one: sign * one[1])[0]] if measured else []
