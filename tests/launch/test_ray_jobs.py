"""What is told a Ray cluster and remembered of it; a real cluster is asked in tests/cluster/test_ray_jobs.py."""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sandwiching.launch.attempts import AttemptRecord
from sandwiching.launch.ray_jobs import RayJob, RayJobState, entrypoint, exit_code, next_config, read_jobs
from sandwiching.launch.submissions import cancel

JOB = RayJob("tiny-1", "http://127.0.0.1:8265", "/runs/tiny/ray/1.yaml", 0.0)


def test_the_entrypoint_runs_in_the_folder_of_configs_and_survives_quotes() -> None:
    text = entrypoint(Path("/it's here/ray/1.yaml"), Path("/it's here"), Path("/the store"))
    words = shlex.split(text)
    assert words[:4] == ["cd", "/it's here/ray", "&&", "exec"]
    assert words[5:] == ["run", "/it's here/ray/1.yaml", "--run-dir", "/it's here", "--store", "/the store"]
    assert Path(words[4]).is_absolute()
    assert subprocess.run(["sh", "-n", "-c", text], check=False, timeout=10).returncode == 0


def test_configs_are_numbered(tmp_path: Path) -> None:
    assert next_config(tmp_path) == tmp_path / "ray" / "1.yaml"
    (tmp_path / "ray").mkdir()
    for number in (2, 10):
        (tmp_path / "ray" / f"{number}.yaml").touch()
    assert next_config(tmp_path) == tmp_path / "ray" / "11.yaml"


@pytest.mark.parametrize(
    ("state", "code", "active", "words"),
    [
        (RayJobState(JOB, "SUCCEEDED", exit_code=0), 0, False, "SUCCEEDED"),
        (RayJobState(JOB, "FAILED", exit_code=2), 2, False, "FAILED with exit code 2"),
        (RayJobState(JOB, "FAILED"), 1, False, "FAILED"),
        (RayJobState(JOB, "STOPPED"), 75, False, "STOPPED"),
        (RayJobState(JOB, "PENDING", "waits for CPUs"), 1, True, "PENDING (waits for CPUs)"),
        (RayJobState(JOB, "RUNNING"), 1, True, "RUNNING"),
        (RayJobState(JOB, None), 1, False, "started anew"),
    ],
)
def test_states(state: RayJobState, code: int, active: bool, words: str) -> None:
    assert exit_code(state) == code
    assert state.active == active
    assert str(state).startswith("Ray job tiny-1 at http://127.0.0.1:8265: ")
    assert words in str(state)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that was submitted to a cluster which is down."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    record = AttemptRecord(number=1, command="sandwich run", host="here", process=1, started=0.0)
    (tmp_path / "attempts").mkdir()
    fields = {name: getattr(record, name) for name in AttemptRecord.__slots__}
    (tmp_path / "attempts" / "1.json").write_text(json.dumps(fields))
    job = {"id": "tiny-1", "address": address, "config": str(tmp_path / "ray/1.yaml"), "submitted": 0.0}
    (tmp_path / "ray.json").write_text(json.dumps({"jobs": [job]}))
    return tmp_path


def test_status_works_while_the_cluster_is_down(sandwich: Callable, run: Path) -> None:
    (job,) = read_jobs(run)
    done = sandwich("status", str(run), folder=run)
    assert done.returncode == 0, done.stderr
    assert "attempt 1 on here" in done.stdout
    assert f"Ray job tiny-1: no Ray job server answers at {job.address}" in done.stdout
    done = sandwich("status", str(run), "--cancel", folder=run)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1


def test_what_was_never_submitted_cannot_be_cancelled(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="was submitted nowhere"):
        cancel(tmp_path, print)


def test_a_cluster_that_is_gone_is_told_from_one_that_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    from sandwiching.launch.ray_client import JobServer, NoServer, RayJobError

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(NoServer):
            JobServer(address, 1)
        silent.listen()
        with pytest.raises(RayJobError, match="timed out") as raised:
            JobServer(address, 1)
        assert not isinstance(raised.value, NoServer)
