"""Notices that a Ray cluster's head is gone, long before Ray does.

Ray's own calls wait for a minute and more for a head that does not come back, and then end the process without a word.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

from sandwiching.launch.failures import HeadLost

LOOK_SECONDS = 2.0
CONNECT_SECONDS = 5.0
PATIENCE = 20.0
"""Seconds without an answer after which the head counts as lost."""


class HeadWatch:
    """A thread that knocks at the head's port."""

    def __init__(self, abandon: Callable[[BaseException], None], patience: float = PATIENCE) -> None:
        self.abandon = abandon
        self.patience = patience
        self.stopping = threading.Event()

    def start(self, address: str) -> None:
        """Watch HOST:PORT from now on."""
        self.stopping.clear()
        threading.Thread(target=self._watch, args=(address,), daemon=True, name="head watch").start()

    def stop(self) -> None:
        """No more."""
        self.stopping.set()

    def _watch(self, address: str) -> None:
        heard = time.monotonic()
        while not self.stopping.wait(LOOK_SECONDS):
            if answers(address):
                heard = time.monotonic()
            elif time.monotonic() - heard > self.patience and not self.stopping.is_set():
                self.abandon(
                    HeadLost(f"the head of the Ray cluster at {address} has not answered for {self.patience:g} s")
                )
                return


def answers(address: str) -> bool:
    """Whether something listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
