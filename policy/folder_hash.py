"""sha256 of a folder of model files, with the files' hashes remembered by (size, mtime) in a JSON file."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from tempfile import NamedTemporaryFile

Known = dict[str, tuple[int, int, str]]


def folder_hash(folder: Path, known_at: Path) -> str:
    """Hash over names and contents of all files below `folder`, hidden ones left out; remembers them in `known_at`."""
    known = _read(known_at)
    total = hashlib.sha256()
    fresh: Known = {}
    for file in _files(folder):
        size, mtime = _stamp(file)
        digest = _remembered(known, file)
        if digest is None:
            with file.open("rb") as handle:
                digest = hashlib.file_digest(handle, "sha256").hexdigest()
            fresh[str(file)] = (size, mtime, digest)
        total.update(f"{file.relative_to(folder).as_posix()}\0{digest}\n".encode())
    if fresh:
        _write(known_at, {**_read(known_at), **fresh})
    return total.hexdigest()


def uncached_bytes(folder: Path, known_at: Path) -> int:
    """Bytes that `folder_hash` would have to read."""
    known = _read(known_at)
    return sum(_stamp(file)[0] for file in _files(folder) if _remembered(known, file) is None)


def _files(folder: Path) -> list[Path]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return sorted(file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts))


def _stamp(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def _remembered(known: Known, file: Path) -> str | None:
    entry = known.get(str(file))
    return entry[2] if entry is not None and (entry[0], entry[1]) == _stamp(file) else None


def _read(known_at: Path) -> Known:
    """An unreadable memory is an empty one: it only costs hashing again."""
    try:
        entries = json.loads(known_at.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return {name: (size, mtime, digest) for name, (size, mtime, digest) in entries.items()}


def _write(known_at: Path, known: Known) -> None:
    known_at.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=known_at.parent, delete=False) as handle:
        json.dump(known, handle)
    os.replace(handle.name, known_at)
