"""The ledger of looks: append-only JSONL in which every line holds the hash of the line before.

    {"number": 1, "store": ..., "time": ..., ..., "previous": sha256, "hash": sha256}

The first line's `previous` is the hash of the store's identity, so that no ledger passes for that of another store, and
a budget that is changed after the fact breaks the chain. Edited, removed and reordered lines are found by the chain;
lines cut off at the end, by the length and head that manifests remember.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HASH, PREVIOUS, NUMBER, STORE = "hash", "previous", "number", "store"
Entry = dict[str, Any]


class BrokenLedger(ValueError):
    """The ledger is not what was written into it, or belongs to another store."""


@dataclass(frozen=True, slots=True)
class Head:
    """How long a store's ledger was at some time, and the hash of its last line (of the identity when empty)."""

    store: str
    length: int
    hash: str


def digest(value: Mapping[str, Any]) -> str:
    """Hex sha256 of the canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(fields: Mapping[str, Any], number: int, store: str, previous: str) -> Entry:
    """An entry of these fields with its place in the chain."""
    entry = {NUMBER: number, STORE: store, **fields, PREVIOUS: previous}
    return {**entry, HASH: digest(entry)}


def problems(lines: Iterable[str], store: str, first: str) -> Iterator[str]:
    """What is wrong with the chain, a line each. first: hash of the store's identity."""
    previous = first
    for place, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            yield f"line {place} is no JSON"
            return
        if not isinstance(entry, dict) or not {NUMBER, STORE, PREVIOUS, HASH} <= entry.keys():
            yield f"line {place} is no entry of a ledger"
            return
        if entry[STORE] != store:
            yield f"line {place} is of another project: of store {entry[STORE]}, where this one is {store}"
            return
        if digest({name: value for name, value in entry.items() if name != HASH}) != entry[HASH]:
            yield f"line {place} was edited: its content does not give its hash"
        elif entry[PREVIOUS] != previous or entry[NUMBER] != place:
            yield (
                f"line {place}, which is number {entry[NUMBER]}, does not follow the line before it: lines were "
                "removed or moved, or the store's budget or salt was changed"
            )
        previous = entry[HASH]


@dataclass(frozen=True, slots=True)
class Ledger:
    """A file of entries. store: whose; first: hash of its identity, which the first entry follows.

    Appending is safe for many processes at once: each holds the lock of a file beside it, reads all, writes one line
    at the end, and has it on the disk before it goes on. A line that a crash cut short was never granted; the next
    append takes it away.
    """

    file: Path
    store: str
    first: str

    def entries(self) -> list[Entry]:
        """All entries, oldest first. Raises BrokenLedger when the chain does not hold."""
        lines = self._lines()
        for problem in problems(lines, self.store, self.first):
            raise BrokenLedger(
                f"{self.file}: {problem}. Restore the ledger from a backup; a new store (check.store) forgets which "
                "looks were taken, so that what was held out is not held out any more"
            )
        return [json.loads(line) for line in lines]

    def problems(self) -> list[str]:
        """What is wrong with the chain; empty for a whole one."""
        return list(problems(self._lines(), self.store, self.first))

    def head(self) -> Head:
        """Where the chain ends now. Raises BrokenLedger."""
        return self._head(self.entries())

    def append(self, fields: Callable[[list[Entry]], Mapping[str, Any] | None]) -> tuple[list[Entry], Head]:
        """Ask `fields`, under the lock, what to add after the entries so far, None for nothing; returns all entries.

        Raises BrokenLedger.
        """
        with self.alone():
            entries = self.entries()
            new = fields(entries)
            if new is not None:
                entries.append(sealed(new, len(entries) + 1, self.store, self._head(entries).hash))
                self._write(json.dumps(entries[-1], sort_keys=True) + "\n")
            return entries, self._head(entries)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other process appends meanwhile."""
        with self.file.with_name(f".{self.file.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _head(self, entries: list[Entry]) -> Head:
        return Head(self.store, len(entries), entries[-1][HASH] if entries else self.first)

    def _lines(self) -> list[str]:
        """Whole lines: without one that a crash cut short."""
        text = self.file.read_text() if self.file.exists() else ""
        return text[: text.rfind("\n") + 1].splitlines()

    def _write(self, line: str) -> None:
        new = not self.file.exists()
        with self.file.open("ab") as stream:
            content = self.file.read_bytes()
            stream.truncate(content.rfind(b"\n") + 1)
            stream.write(line.encode())
            stream.flush()
            os.fsync(stream.fileno())
        if new:
            folder = os.open(self.file.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)


def cut_short(entries: list[Entry], first: str, remembered: Iterable[tuple[str, Head]]) -> list[str]:
    """Where a ledger is shorter than, or other than, it was when something remembered its head (place, head)."""
    found = []
    for place, head in remembered:
        if head.length > len(entries):
            found.append(f"{place} remembers {head.length} lines, of which {len(entries)} are left")
        elif head.hash != (entries[head.length - 1][HASH] if head.length else first):
            found.append(f"{place} remembers another line {head.length}")
    return found
