"""Folders that this process may read and never write: what it watches stays as it is, whatever a monitor does."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {
    "os.remove": 1,
    "os.rmdir": 1,
    "os.mkdir": 1,
    "os.truncate": 1,
    "os.chmod": 1,
    "os.chown": 1,
    "os.utime": 1,
    "os.setxattr": 1,
    "os.symlink": 2,
    "os.link": 2,
    "os.rename": 2,
}
"""Audit events of Python that change files, and how many of their first arguments are paths that they touch."""


def forbid_writing(folders: Iterable[Path]) -> None:
    """From now on, and for good, every attempt of this process to change something below `folders` through Python
    raises PermissionError."""
    guarded = tuple(str(folder.resolve()) for folder in folders)

    def below(path: Any) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        whole = os.path.realpath(os.fsdecode(path))
        return any(whole == root or whole.startswith(root + os.sep) for root in guarded)

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        touched: tuple[Any, ...] = ()
        if event == "open":
            path, mode, flags = arguments
            writes = isinstance(flags, int) and bool(flags & WRITING)
            touched = (path,) if writes or (isinstance(mode, str) and any(sign in mode for sign in "wax+")) else ()
        elif event in CHANGES:
            touched = arguments[: CHANGES[event]]
        for path in touched:
            if below(path):
                raise PermissionError(f"a monitor tried to change {os.fsdecode(path)}: what it watches is read only")

    sys.addaudithook(refuse)
