"""Checkpoints are whole or refused."""

from pathlib import Path

import pytest

from sandwiching.training import checkpoints
from sandwiching.training.artifacts import StageFolder, StaleAttempt, Store


def claimed(root: Path) -> StageFolder:
    with Store(root).claim("ppo", "0" * 16, on_wait=print) as folder:
        return folder


def write(folder: StageFolder, step: int) -> Path:
    temporary = checkpoints.begin(folder, step)
    (temporary / "deep").mkdir()
    (temporary / "deep" / "weights").write_bytes(b"w" * 100 * step)
    final = folder.checkpoints / f"step_{step}"
    checkpoints.seal(temporary, final, folder)
    return final


def test_newest_good_checkpoint_wins(tmp_path: Path) -> None:
    folder = claimed(tmp_path)
    assert checkpoints.latest(folder.checkpoints) is None
    write(folder, 9)
    newest = write(folder, 10)
    assert checkpoints.latest(folder.checkpoints) == newest


@pytest.mark.parametrize("damage", ["truncate", "flip", "delete", "unsealed", "torn listing"])
def test_a_damaged_checkpoint_is_refused_and_the_one_before_used(tmp_path: Path, damage: str, caplog) -> None:
    folder = claimed(tmp_path)
    good, bad = write(folder, 1), write(folder, 2)
    weights = bad / "deep" / "weights"
    if damage == "truncate":
        weights.write_bytes(weights.read_bytes()[:50])
    elif damage == "flip":
        weights.write_bytes(b"x" + weights.read_bytes()[1:])
    elif damage == "delete":
        weights.unlink()
    elif damage == "unsealed":
        (bad / checkpoints.COMPLETE).unlink()
    else:
        (bad / checkpoints.COMPLETE).write_text('{"deep/wei')
    assert checkpoints.latest(folder.checkpoints) == good
    assert "step_2 is refused" in caplog.text


def test_an_interrupted_write_leaves_nothing_to_resume_from(tmp_path: Path) -> None:
    folder = claimed(tmp_path)
    (checkpoints.begin(folder, 5) / "weights").write_bytes(b"half")
    assert checkpoints.latest(folder.checkpoints) is None


def test_prune_keeps_the_newest(tmp_path: Path) -> None:
    folder = claimed(tmp_path)
    for step in (2, 8, 10):
        write(folder, step)
    checkpoints.prune(folder.checkpoints, keep=2)
    assert sorted(path.name for path in folder.checkpoints.glob("step_*")) == ["step_10", "step_8"]


def test_a_stale_attempt_cannot_seal(tmp_path: Path) -> None:
    old = claimed(tmp_path)
    temporary = checkpoints.begin(old, 1)
    claimed(tmp_path)
    with pytest.raises(StaleAttempt):
        checkpoints.seal(temporary, old.checkpoints / "step_1", old)
    assert checkpoints.latest(old.checkpoints) is None
