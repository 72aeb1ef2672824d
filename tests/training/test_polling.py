"""A stage that is asked to stop is seen from inside its long calls."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sandwiching.policy.generation import Polled
from sandwiching.training.artifacts import StageFolder, Stopped
from sandwiching.training.polling import StopPoll


def test_without_a_folder_nothing_asks() -> None:
    poll = StopPoll(None)
    poll()
    poll.together()
    assert not poll.asked()


def test_it_looks_now_and_then_and_remembers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"now": 100.0}
    monkeypatch.setattr("time.monotonic", lambda: clock["now"])
    folder = StageFolder(tmp_path, 1)
    poll = StopPoll(folder, seconds=5.0)
    poll()
    folder.ask_to_stop()
    clock["now"] = 104.0
    poll()
    clock["now"] = 105.0
    with pytest.raises(Stopped, match=f"{tmp_path.name} stopped"):
        poll()
    (tmp_path / "stop").unlink()
    with pytest.raises(Stopped):
        poll.together()


@pytest.mark.slow
def test_what_one_rank_sees_stops_all(run_stages, tmp_path: Path) -> None:
    assert run_stages([("__main__:rank_1_sees_a_stop", {"folder": StageFolder(tmp_path, 1)})], 2) == [True]


def test_a_generation_ends_at_its_next_token() -> None:
    calls = []
    scores = torch.ones(2, 3)
    assert Polled(lambda: calls.append(1))(torch.zeros(2, 1, dtype=torch.int64), scores) is scores
    assert calls == [1]
