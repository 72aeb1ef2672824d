"""Keys, manifests and attempts of artifacts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sandwiching.training.artifacts import (
    BrokenArtifact,
    StaleAttempt,
    Store,
    read_manifest,
    stage_key,
    write_manifest,
)

FIELDS = {
    "stage": "sft",
    "version": 1,
    "key": "0" * 16,
    "inputs": {"seed": 0},
    "parents": {},
    "metrics": {"sft/loss": 1.0},
    "seconds": 1.0,
}


def finished(store: Store, key: str = "0" * 16) -> Path:
    with store.claim("sft", key, on_wait=print) as folder:
        folder.model.mkdir(exist_ok=True)
        (folder.model / "weights").write_bytes(b"abc")
        folder.checkpoints.mkdir(exist_ok=True)
        (folder.checkpoints / "big").write_bytes(b"not part of it")
        write_manifest(folder, FIELDS)
    return folder.path


def test_key_depends_on_content_not_on_order() -> None:
    assert stage_key({"a": 1, "b": 2}) == stage_key({"b": 2, "a": 1})
    assert stage_key({"a": 1}) != stage_key({"a": 2})


def test_states(tmp_path: Path) -> None:
    store = Store(tmp_path)
    key = "0" * 16
    assert store.state("sft", key) == "new"
    with store.claim("sft", key, on_wait=print):
        assert store.state("sft", key) == "resume"
    finished(store)
    assert store.state("sft", key) == "done"


def test_manifest_round_trip_leaves_checkpoints_out(tmp_path: Path) -> None:
    path = finished(Store(tmp_path))
    manifest = read_manifest(path, check_hashes=True)
    assert manifest.metrics == {"sft/loss": 1.0}
    assert list(manifest.files) == ["model/weights"]


def test_unfinished_missing_and_changed_files_are_refused(tmp_path: Path) -> None:
    path = finished(Store(tmp_path))
    (path / "model" / "weights").write_bytes(b"abd")
    read_manifest(path)
    with pytest.raises(BrokenArtifact, match="sha256"):
        read_manifest(path, check_hashes=True)
    (path / "model" / "weights").unlink()
    with pytest.raises(BrokenArtifact, match="missing"):
        read_manifest(path)
    (path / "manifest.json").unlink()
    with pytest.raises(BrokenArtifact, match="not a finished artifact"):
        read_manifest(path)


def test_an_old_attempt_may_not_write(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.claim("sft", "1" * 16, on_wait=print) as old:
        pass
    with store.claim("sft", "1" * 16, on_wait=print) as new:
        new.check_attempt()
        with pytest.raises(StaleAttempt, match="attempt 2 owns"):
            old.check_attempt()
        with pytest.raises(StaleAttempt):
            write_manifest(old, FIELDS)


HOLD = """
import sys
from pathlib import Path
from sandwiching.training.artifacts import Store
with Store(Path(sys.argv[1])).claim("sft", "2" * 16, on_wait=print):
    print("holding", flush=True)
    sys.stdin.readline()
"""


def test_two_processes_never_own_one_key(tmp_path: Path) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "holding\n"
        told: list[str] = []

        def on_wait(text: str) -> None:
            told.append(text)
            other.communicate("go on\n")

        with Store(tmp_path).claim("sft", "2" * 16, on_wait=on_wait) as folder:
            assert folder.attempt == 2
    assert "waiting" in told[0]


def test_progress_is_readable_json(tmp_path: Path) -> None:
    with Store(tmp_path).claim("sft", "3" * 16, on_wait=print) as folder:
        folder.report(3, 10)
    state = json.loads((folder.path / "progress.json").read_text())
    assert (state["step"], state["total"]) == (3, 10)


def test_who_may_not_wait_for_another_process_does_not(tmp_path: Path) -> None:
    def refused() -> None:
        raise InterruptedError("asked to stop")

    store, told = Store(tmp_path), list[str]()
    with store.claim("sft", "4" * 16, print), pytest.raises(InterruptedError):  # noqa: SIM117
        with store.claim("sft", "4" * 16, told.append, refused):
            pass
    assert len(told) == 1
