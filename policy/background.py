"""Calls beside the caller's own work."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def background(call: Callable[[], T]) -> Future[T]:
    """The call's result to be. In a daemon thread: a process that fails meanwhile does not wait for it at its end."""
    future = Future[T]()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def at_once(call: Callable[[], T]) -> Future[T]:
    """The same, done before it returns."""
    future = Future[T]()
    future.set_result(call())
    return future
