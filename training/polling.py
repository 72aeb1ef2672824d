"""Looks, from inside the long calls of a stage, whether it was asked to stop."""

from __future__ import annotations

import time

import torch

from sandwiching.training import distributed
from sandwiching.training.artifacts import StageFolder, Stopped

LOOK_SECONDS = 1.0
"""Between two looks at the file system, which may be a slow one."""


class StopPoll:
    """Raises Stopped when called once the folder asks for it; without a folder nothing asks.

    seconds: between two looks.
    """

    def __init__(self, folder: StageFolder | None, seconds: float = LOOK_SECONDS) -> None:
        self.folder = folder
        self.seconds = seconds
        self.next_look = 0.0
        self.seen = False

    def asked(self) -> bool:
        """Whether this process has seen it."""
        if self.folder is not None and not self.seen and time.monotonic() >= self.next_look:
            self.seen = self.folder.asked_to_stop()
            self.next_look = time.monotonic() + self.seconds
        return self.seen

    def __call__(self) -> None:
        """In a process that decides alone."""
        if self.asked():
            self._stop()

    def together(self) -> None:
        """On every rank: all raise at the same place, once one has seen it."""
        if self.folder is not None and distributed.all_sum(torch.tensor(float(self.asked()))):
            self._stop()

    def _stop(self) -> None:
        assert self.folder is not None
        raise Stopped(f"{self.folder.path.name} stopped")
