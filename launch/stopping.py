"""Signals of a scheduler that wants its devices back."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from sandwiching.launch.failures import Terminated
from sandwiching.training.artifacts import StageFolder


class StopSignals:
    """SIGTERM and SIGUSR1 ask the stages at work to save what they have and end.

    The second one, or one while no stage is at work, ends the run as Ctrl-C does: at once, locks released.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.at_work: Sequence[StageFolder] = ()
        self.asked = False

    def install(self) -> None:
        """In the main thread of the process that the scheduler signals; again after ray.init, which takes SIGTERM."""
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self.handle)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Raises Terminated when there is nothing to wait for."""
        if self.asked or not self.at_work:
            raise Terminated(signal.Signals(number).name)
        self.asked = True
        self.say("asked to stop: the stages at work save what they have; a second signal ends the run at once")
        for folder in self.at_work:
            folder.ask_to_stop()

    def may_wait(self) -> None:
        """For what another process does. Raises Terminated once it was asked to stop."""
        if self.asked:
            raise Terminated("asked to stop")

    @contextmanager
    def working(self, folders: Sequence[StageFolder]) -> Iterator[None]:
        """These stages are at work inside. Raises Terminated after stages that came to their end before they looked."""
        self.at_work = folders
        try:
            yield
        finally:
            self.at_work = ()
        if self.asked:
            raise Terminated("asked to stop")
