"""One attempt at a run: its number, its log, and how it ended.

runs/<name>/attempts/3.json   command, start, end, outcome, message
runs/<name>/attempts/3.log    everything that the libraries print, and the traceback of a failure
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType

import typer
from rich.console import Console

from sandwiching.launch.failures import ExitCode, explain
from sandwiching.training.artifacts import write_atomic


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """attempts/N.json. `ended` is None while it runs, and for ever when it was killed."""

    number: int
    command: str
    host: str
    process: int
    started: float
    ended: float | None = None
    exit_code: int | None = None
    message: str | None = None


def read_attempts(run_dir: Path) -> list[AttemptRecord]:
    """All attempts, oldest first."""
    files = sorted((run_dir / "attempts").glob("*.json"), key=lambda file: int(file.stem))
    return [AttemptRecord(**json.loads(file.read_text())) for file in files]


class Attempt:
    """Context of a run. What is printed inside goes to the log; a failure becomes one line and an exit code."""

    def __init__(self, run_dir: Path) -> None:
        folder = run_dir / "attempts"
        folder.mkdir(parents=True, exist_ok=True)
        number = _claim_number(folder)
        self.file = folder / f"{number}.json"
        self.log = folder / f"{number}.log"
        self.record = AttemptRecord(number, shlex.join(sys.argv), socket.gethostname(), os.getpid(), time.time())
        self.saved: tuple[int, int] = (-1, -1)
        self.console = Console(stderr=True)

    def __enter__(self) -> Attempt:
        self._write()
        sys.stdout.flush()
        sys.stderr.flush()
        self.saved = (os.dup(1), os.dup(2))
        self.console = Console(file=os.fdopen(os.dup(2), "w"))
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
        if error is None:
            self._end(ExitCode.DONE, None)
            return
        raise typer.Exit(self._fail(error)) from None

    def abandon(self, error: BaseException) -> None:
        """End this process with the error's message, from any thread: where the main one may wait for ever."""
        code = self._fail(error)
        self.console.show_cursor()
        self.console.file.flush()
        os._exit(code)

    def _fail(self, error: BaseException) -> ExitCode:
        """Remember and tell what went wrong; on a full disk it is told alone."""
        code, message = explain(error)
        try:
            with self.log.open("a") as stream:
                traceback.print_exception(error, file=stream)
            self._end(code, message)
        except OSError as unwritten:
            message = f"{message} (nor can {self.file.parent} be written: {unwritten.strerror})"
        self.console.print(message, style="red", markup=False, highlight=False, soft_wrap=True)
        self.console.print(f"log: {self.log}", highlight=False, soft_wrap=True)
        return code

    def _restore(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # the log's disk is full
                stream.flush()
        for saved, number in zip(self.saved, (1, 2), strict=True):
            os.dup2(saved, number)
            os.close(saved)

    def _end(self, code: ExitCode, message: str | None) -> None:
        self.record = replace(self.record, ended=time.time(), exit_code=int(code), message=message)
        self._write()

    def _write(self) -> None:
        write_atomic(self.file, json.dumps(asdict(self.record), indent=1))


def _claim_number(folder: Path) -> int:
    """The next number, taken by making its log: several drivers of a sweep may start at once."""
    number = max((int(file.stem) for file in folder.glob("*.log")), default=0) + 1
    while True:
        try:
            (folder / f"{number}.log").open("x").close()
        except FileExistsError:
            number += 1
        else:
            return number
