"""Checkpoints written in the background: whole, or absent with the reason."""

from __future__ import annotations

import errno
import threading
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from sandwiching.configs.schema import BestConfig, ResourcesConfig
from sandwiching.training import checkpoints
from sandwiching.training.artifacts import StageFolder, Store
from sandwiching.training.metrics import MetricsLog
from sandwiching.training.saving import BackgroundFiles, Saver


@pytest.fixture
def folder(tmp_path: Path) -> StageFolder:
    with Store(tmp_path).claim("ppo", "0" * 16, on_wait=print) as claimed:
        return claimed


def save(saver: Saver, files: list[BackgroundFiles], step: int, state: torch.Tensor, **record: float) -> None:
    temporary = saver.begin(step)
    for rank, one in enumerate(files):
        one.save({"state": state}, temporary / f"rank{rank}.pt")
        one.finish(temporary, rank)
    MetricsLog(temporary / checkpoints.RECORD).write({"step": step, **record})
    saver.seal(temporary, step)


def test_a_checkpoint_holds_what_was_given_though_training_goes_on(folder: StageFolder):
    state, files = torch.zeros(100_000), [BackgroundFiles(), BackgroundFiles()]
    with Saver(folder, 2, ResourcesConfig()) as saver:
        save(saver, files, 1, state)
        state += 1
    newest = checkpoints.latest(folder.checkpoints)
    assert newest is not None
    assert sorted(file.name for file in newest.iterdir()) == ["complete.json", "rank0.pt", "rank1.pt", "record.jsonl"]
    assert not torch.load(newest / "rank1.pt")["state"].any()


def test_it_is_not_sealed_before_the_last_rank_has_written(folder: StageFolder):
    files = [BackgroundFiles(), BackgroundFiles()]
    with Saver(folder, 2, ResourcesConfig()) as saver:
        temporary = saver.begin(1)
        files[0].finish(temporary, 0)
        saver.seal(temporary, 1)
        threading.Event().wait(0.3)
        assert checkpoints.latest(folder.checkpoints) is None
        files[1].finish(temporary, 1)
    assert checkpoints.latest(folder.checkpoints) is not None


def test_a_file_that_cannot_be_written_fails_the_stage_and_leaves_the_checkpoint_before(folder: StageFolder):
    files = [BackgroundFiles()]
    saver = Saver(folder, 1, ResourcesConfig())
    save(saver, files, 1, torch.zeros(3))
    temporary = saver.begin(2)
    (temporary / "rank0.pt").mkdir()
    files[0].save({}, temporary / "rank0.pt")
    files[0].finish(temporary, 0)
    saver.seal(temporary, 2)
    with pytest.raises(IsADirectoryError, match=r"rank0\.pt") as raised:
        saver.wait()
    assert raised.value.errno == errno.EISDIR
    newest = checkpoints.latest(folder.checkpoints)
    assert newest is not None
    assert newest.name == "step_1"


def test_a_stage_that_fails_leaves_nobody_waiting(folder: StageFolder):
    saver = Saver(folder, 2, ResourcesConfig())
    with suppress(RuntimeError), saver:
        saver.seal(saver.begin(1), 1)
        raise RuntimeError("a rank is lost")
    saver.wait()
    assert checkpoints.latest(folder.checkpoints) is None


def test_without_async_save_it_is_sealed_at_once(folder: StageFolder):
    saver = Saver(folder, 1, ResourcesConfig(async_save=False))
    save(saver, [BackgroundFiles()], 1, torch.zeros(3))
    assert checkpoints.latest(folder.checkpoints) is not None
    assert saver.take_held()["time/checkpoint"] > 0
    assert saver.take_held() == {}


@pytest.mark.parametrize(("mode", "kept"), [("max", ["step_1", "step_5"]), ("min", ["step_3", "step_5"])])
def test_the_best_is_kept_beside_the_newest(folder: StageFolder, mode: str, kept: list[str]):
    resources = ResourcesConfig(keep=1, keep_best=BestConfig(metric="ppo/score", mode=mode))
    with Saver(folder, 1, resources) as saver:
        for step, score in enumerate([0.9, 0.5, 0.1, 0.5, 0.6], 1):
            save(saver, [BackgroundFiles()], step, torch.zeros(3), **{"ppo/score": score})
    assert sorted(path.name for path in folder.checkpoints.iterdir()) == kept


def test_without_the_metric_only_the_newest_are_kept(folder: StageFolder):
    resources = ResourcesConfig(keep=2, keep_best=BestConfig(metric="ppo/score"))
    with Saver(folder, 1, resources) as saver:
        for step in range(1, 5):
            save(saver, [BackgroundFiles()], step, torch.zeros(3))
    assert sorted(path.name for path in folder.checkpoints.iterdir()) == ["step_3", "step_4"]
