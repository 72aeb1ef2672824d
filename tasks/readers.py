"""Files of judgements: JSONL (gzip allowed) or a saved Hugging Face dataset, in any schema of tasks/schemas.py."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import logging
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sandwiching.tasks.columns import ColumnError, Defaults, hash_rater
from sandwiching.tasks.records import Judgement
from sandwiching.tasks.schemas import SCHEMAS, JudgementRow

__all__ = [
    "JudgementRow",
    "file_fingerprint",
    "hash_rater",
    "numbered_lines",
    "parsed",
    "read_judgements",
    "write_judgements",
]

SHOWN = 20
"""Bad rows that an error lists."""

_GZIP = b"\x1f\x8b"
_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class _BadRow:
    line: int
    problem: str
    raw: str


def read_judgements(
    path: Path | str,
    schema: str = "judgements",
    *,
    tier: str | None = None,
    rater: str | None = None,
    rejected: Path | None = None,
) -> list[JudgementRow]:
    """All judgements of a file, or of a folder written by `save_to_disk`, in its order; rater ids are hashed.

    tier, rater: of rows that have none. rejected: leave bad rows out and write them there, each with what is wrong;
    without it a bad row is an error.
    Raises ValueError naming file, line, column and remedy (the first 20 bad rows), or when nothing is left to read.
    """
    path = Path(path)
    if schema not in SCHEMAS:
        raise ValueError(f"data.format: {schema!r} is unknown; use one of {', '.join(SCHEMAS)}")
    if not path.exists():
        raise ValueError(f"data.judgements: {path} does not exist; give a JSONL file or a folder of a saved dataset")
    good, bad, total = _sorted_out(path, schema, Defaults(tier, rater))
    if total == 0:
        raise ValueError(f"{path}: the file is empty; it needs one judgement a line")
    if bad and rejected is not None:
        _write_rejected(path, bad, rejected)
        _LOG.warning("%s: left out %d of %d rows; they are in %s", path, len(bad), total, rejected)
    if not good or (bad and rejected is None):
        raise ValueError(_complaint(path, bad, total))
    return good


def _sorted_out(path: Path, schema: str, defaults: Defaults) -> tuple[list[JudgementRow], list[_BadRow], int]:
    """Judgements, rows that cannot be read, and the number of all rows."""
    good: list[JudgementRow] = []
    bad: list[_BadRow] = []
    tiers: dict[str, tuple[str, int]] = {}
    total = 0
    for line, raw in _dataset_rows(path) if path.is_dir() else numbered_lines(path):
        total += 1
        try:
            found = SCHEMAS[schema](parsed(raw), defaults)
            for one in found:
                _check_tier(one.judgement, tiers, line)
        except ColumnError as error:
            bad.append(_BadRow(line, str(error), raw if isinstance(raw, str) else json.dumps(raw, default=str)))
        else:
            good += found
    return good, bad, total


def _check_tier(judgement: Judgement, tiers: dict[str, tuple[str, int]], line: int) -> None:
    """Expert verdicts must not hide among weak ones: a rater has one tier."""
    known, first = tiers.setdefault(judgement.rater, (judgement.tier, line))
    if known != judgement.tier:
        raise ColumnError(
            "tier", f"{judgement.tier}, but the same rater is {known} in line {first}; a rater has one tier"
        )


def _complaint(path: Path, bad: Sequence[_BadRow], total: int) -> str:
    head = f"{path}: {len(bad)} of {total} rows cannot be read; mend them, or set data.skip_bad_rows: true"
    rows = [f"  {path}:{row.line}: {row.problem}" for row in bad[:SHOWN]]
    more = [f"  ... and {len(bad) - SHOWN} more"] if len(bad) > SHOWN else []
    return "\n".join([head, *rows, *more])


def _write_rejected(path: Path, bad: Sequence[_BadRow], rejected: Path) -> None:
    rejected.parent.mkdir(parents=True, exist_ok=True)
    with rejected.open("w", encoding="utf-8") as handle:
        for row in bad:
            record = {"file": str(path), "line": row.line, "problem": row.problem, "row": row.raw}
            handle.write(json.dumps(record, ensure_ascii=False) + "\n")


def parsed(raw: str | dict[str, Any]) -> dict[str, Any]:
    """One row as an object. Raises ColumnError when it is none."""
    if isinstance(raw, dict):
        return raw
    try:
        row = json.loads(raw)
    except json.JSONDecodeError as error:
        raise ColumnError("row", f"not JSON ({error.msg} at column {error.colno}); is the line cut off?") from error
    if not isinstance(row, dict):
        raise ColumnError("row", "not an object; write one JSON object a line, not an array")
    return row


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines that are not blank. Bytes that are not UTF-8 are replaced, so that such a line shows."""
    with path.open("rb") as plain:
        zipped = plain.read(2) == _GZIP
    try:
        with gzip.open(path) if zipped else path.open("rb") as handle:
            for line, raw in enumerate(handle, start=1):
                if raw.strip():
                    yield line, raw.decode("utf-8-sig", errors="replace").strip()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: the gzip file is damaged or cut off ({error}); copy it again") from error


def _dataset_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    from datasets import DatasetDict, load_from_disk

    if (path / "dataset_dict.json").is_file():
        splits = sorted(child.name for child in path.iterdir() if child.is_dir())
        raise ValueError(f"data.judgements: {path} holds several splits; name one: {path / splits[0]}")
    try:
        dataset = load_from_disk(str(path))
    except FileNotFoundError as error:
        raise ValueError(f"data.judgements: {path} was not written by Dataset.save_to_disk") from error
    assert not isinstance(dataset, DatasetDict)
    for line, row in enumerate(dataset, start=1):
        assert isinstance(row, dict)
        yield line, row


def write_judgements(
    path: Path,
    judgements: Iterable[Judgement],
    finished_a: Sequence[bool] | None = None,
    finished_b: Sequence[bool] | None = None,
) -> None:
    """Write judgements as JSONL in this project's schema; gzip when the name ends in .gz. The same input, same bytes.

    finished_a, finished_b: one entry a judgement, or None where every response was finished.
    """
    lines = []
    for index, judgement in enumerate(judgements):
        row: dict[str, Any] = {
            name: value for name, value in dataclasses.asdict(judgement).items() if value is not None
        }
        if finished_a is not None:
            row["finished_a"] = finished_a[index]
        if finished_b is not None:
            row["finished_b"] = finished_b[index]
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    content = "".join(lines).encode()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def file_fingerprint(path: Path | str) -> str:
    """sha256 of a file's bytes, or of all files (names and bytes) of a folder. Raises ValueError when there is none."""
    path = Path(path)
    if not path.exists():
        raise ValueError(f"data.judgements: {path} does not exist")
    files = sorted(child for child in path.rglob("*") if child.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        if path.is_dir():
            digest.update(f"{file.relative_to(path)}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as handle:
            while chunk := handle.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
