"""What a signal does to a run, by hand; tests/test_resume.py sends real ones."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from sandwiching.launch.failures import ExitCode, Terminated, explain
from sandwiching.launch.stopping import StopSignals
from sandwiching.training.artifacts import StageFolder, Stopped, Store


def test_with_no_stage_at_work_a_signal_ends_the_run_at_once() -> None:
    with pytest.raises(Terminated, match="SIGUSR1"):
        StopSignals(print).handle(signal.SIGUSR1, None)


def test_stages_at_work_are_asked_first_and_the_second_signal_ends_the_run(tmp_path: Path) -> None:
    signals, folder = StopSignals(print), StageFolder(tmp_path, 1)
    signals.at_work = [folder]
    assert not folder.asked_to_stop()
    signals.handle(signal.SIGUSR1, None)
    with pytest.raises(Stopped):
        folder.stop_if_asked()
    with pytest.raises(Terminated, match="SIGTERM"):
        signals.handle(signal.SIGTERM, None)


def test_after_a_stage_that_ended_before_it_looked_no_other_begins(tmp_path: Path) -> None:
    signals = StopSignals(print)
    with pytest.raises(Terminated), signals.working([StageFolder(tmp_path, 1)]):
        signals.handle(signal.SIGTERM, None)


def test_a_stage_that_stopped_is_what_is_raised(tmp_path: Path) -> None:
    signals, folder = StopSignals(print), StageFolder(tmp_path / "ppo-1", 1)
    folder.path.mkdir()

    def stage() -> None:
        with signals.working([folder]):
            signals.handle(signal.SIGTERM, None)
            folder.stop_if_asked()

    with pytest.raises(Stopped) as raised:
        stage()
    code, message = explain(raised.value)
    assert code == ExitCode.REQUEUE
    assert message == "ppo-1 stopped, and is saved; the same command goes on from there"


def test_the_next_attempt_is_not_asked(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.claim("ppo", "0" * 16, print) as folder:
        folder.ask_to_stop()
    with store.claim("ppo", "0" * 16, print) as folder:
        assert not folder.asked_to_stop()
