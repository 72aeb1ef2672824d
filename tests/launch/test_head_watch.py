"""A head that no longer answers ends the run, in time and only then."""

from __future__ import annotations

import socket
import threading

import pytest

from sandwiching.launch import head_watch
from sandwiching.launch.failures import ExitCode, HeadLost, explain
from sandwiching.launch.head_watch import HeadWatch, answers


def test_a_silent_head_is_lost_after_the_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_watch, "LOOK_SECONDS", 0.02)
    said: list[BaseException] = []
    lost = threading.Event()

    def abandon(error: BaseException) -> None:
        said.append(error)
        lost.set()

    with socket.create_server(("127.0.0.1", 0)) as head:
        address = f"127.0.0.1:{head.getsockname()[1]}"
        assert answers(address)
        watch = HeadWatch(abandon, patience=0.2)
        watch.start(address)
        assert not lost.wait(0.5)
    assert not answers(address)
    assert lost.wait(10)
    code, message = explain(said[0])
    assert isinstance(said[0], HeadLost)
    assert code == ExitCode.FAILED
    assert address in message
    assert "the same command goes on" in message
    watch.stop()


def test_a_watch_that_was_stopped_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_watch, "LOOK_SECONDS", 0.02)
    said: list[BaseException] = []
    watch = HeadWatch(said.append, patience=0.2)
    watch.start("127.0.0.1:1")
    watch.stop()
    threading.Event().wait(0.5)
    assert said == []
