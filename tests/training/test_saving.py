"""Checkpoints written in the background: whole, or absent with the reason."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from collections.abc import Iterator
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


class Slow(BackgroundFiles):
    """Whose disk does nothing until it is told to."""

    def __init__(self) -> None:
        self.disk = threading.Event()
        super().__init__()

    def _write_all(self) -> None:
        self.disk.wait()
        super()._write_all()


def save(saver: Saver, files: BackgroundFiles, step: int, state: torch.Tensor, **record: float) -> None:
    temporary = saver.begin(step)
    # Before the state, which may fill the disk at once.
    MetricsLog(temporary / checkpoints.RECORD).write({"step": step, **record})
    files.save({"state": state}, temporary / "state.pt")
    saver.end(temporary, step)


def newest(folder: StageFolder) -> str | None:
    found = checkpoints.latest(folder.checkpoints)
    return found and found.name


def test_a_checkpoint_holds_what_was_given_though_training_goes_on(folder: StageFolder):
    state, files = torch.zeros(100_000), Slow()
    with Saver(folder, files, ResourcesConfig()) as saver:
        save(saver, files, 1, state)
        state += 1
        files.disk.set()
    assert newest(folder) == "step_1"
    assert sorted(os.listdir(folder.checkpoints / "step_1")) == ["complete.json", "record.jsonl", "state.pt"]
    assert not torch.load(folder.checkpoints / "step_1" / "state.pt")["state"].any()


def test_training_does_not_wait_and_nothing_is_sealed_before_it_is_written(folder: StageFolder):
    files = Slow()
    with Saver(folder, files, ResourcesConfig()) as saver:
        save(saver, files, 1, torch.zeros(3))
        saver.look()
        assert newest(folder) is None
        files.disk.set()
        files.flush()
        saver.look()
        saver.wait()
        assert newest(folder) == "step_1"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], check=False)
    if mounted.returncode:
        pytest.skip("only root may mount")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_fails_the_stage_at_its_next_step_and_leaves_the_checkpoint_before(small_disk: Path):
    with Store(small_disk).claim("ppo", "0" * 16, on_wait=print) as folder:
        files = BackgroundFiles()
        saver = Saver(folder, files, ResourcesConfig())
        save(saver, files, 1, torch.zeros(300_000))
        saver.wait()
        save(saver, files, 2, torch.zeros(900_000))
        files.waiting.join()
        with pytest.raises(OSError, match="No space left") as raised:
            saver.look()
        assert raised.value.errno == errno.ENOSPC
        assert newest(folder) == "step_1"
        # What was written of it is gone, so that there is room to say so.
        assert os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize > 2_000_000


def test_a_last_checkpoint_that_cannot_be_written_fails_the_stage(folder: StageFolder):
    files = BackgroundFiles()
    with pytest.raises(IsADirectoryError), Saver(folder, files, ResourcesConfig()) as saver:  # noqa: PT012
        temporary = saver.begin(2)
        (temporary / "state.pt").mkdir()
        files.save({}, temporary / "state.pt")
        saver.end(temporary, 2)
    assert newest(folder) is None


def test_a_stage_that_fails_waits_for_no_disk_but_for_what_is_being_sealed(folder: StageFolder):
    files, hung = BackgroundFiles(), Slow()
    saver = Saver(folder, files, ResourcesConfig())
    with suppress(RuntimeError), saver:
        save(saver, files, 1, torch.zeros(1_000_000))
        files.flush()
        saver.look()
        saver.files = hung
        temporary = saver.begin(2)
        hung.save({}, temporary / "state.pt")
        saver.end(temporary, 2)
        raise RuntimeError("a rank is lost")
    assert newest(folder) == "step_1"


def test_without_async_save_it_is_sealed_at_once(folder: StageFolder):
    files = BackgroundFiles()
    saver = Saver(folder, files, ResourcesConfig(async_save=False))
    save(saver, files, 1, torch.zeros(3))
    assert newest(folder) == "step_1"
    assert saver.take_held()["time/checkpoint"] > 0
    assert saver.take_held() == {}
    name, size, seconds = checkpoints.last_cost(folder.path.parent, folder.path.name.partition("-")[0]) or ("", 0, 0.0)
    on_disk = sum(
        file.stat().st_size for file in (folder.checkpoints / "step_1").iterdir() if file.name != checkpoints.COMPLETE
    )
    assert (name, size) == (folder.path.name, on_disk)
    assert seconds > 0


@pytest.mark.parametrize(("mode", "kept"), [("max", ["step_1", "step_5"]), ("min", ["step_3", "step_5"])])
def test_the_best_is_kept_beside_the_newest(folder: StageFolder, mode: str, kept: list[str]):
    resources = ResourcesConfig(keep=1, keep_best=BestConfig(metric="ppo/score", mode=mode))
    files = BackgroundFiles()
    with Saver(folder, files, resources) as saver:
        for step, score in enumerate([0.9, 0.5, 0.1, 0.5, 0.6], 1):
            save(saver, files, step, torch.zeros(3), **{"ppo/score": score})
    assert sorted(path.name for path in folder.checkpoints.iterdir()) == kept


def test_without_the_metric_only_the_newest_are_kept(folder: StageFolder):
    files, resources = BackgroundFiles(), ResourcesConfig(keep=2, keep_best=BestConfig(metric="ppo/score"))
    with Saver(folder, files, resources) as saver:
        for step in range(1, 5):
            save(saver, files, step, torch.zeros(3))
    assert sorted(path.name for path in folder.checkpoints.iterdir()) == ["step_3", "step_4"]
