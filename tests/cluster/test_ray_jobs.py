"""Runs as jobs of a Ray cluster that was started separately, with token authentication, on ports of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from sandwiching.launch.attempts import read_attempts
from sandwiching.training.distributed import free_port
from sandwiching.training.metrics import read_metrics

pytestmark = pytest.mark.cluster

BIN = Path(sys.executable).parent
TOKEN = "0123456789abcdef0123456789abcdef"
SMALL = ["arms.ceiling=null", "reward_model.members=1", "resources.cpus=2", "resources.checkpoint_every=1"]
MINUTES = 60.0


class Head:
    """A head node that is a process of this test's, ended by its pid."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="ray-"))
        self.port, self.dashboard, client = free_port(), free_port(), free_port()
        self.address = f"http://127.0.0.1:{self.dashboard}"
        options = {
            "node-ip-address": "127.0.0.1",
            "port": self.port,
            "dashboard-host": "127.0.0.1",
            "dashboard-port": self.dashboard,
            "dashboard-agent-listen-port": 0,
            "ray-client-server-port": client,
            "min-worker-port": 0,
            "max-worker-port": 0,
            "num-cpus": 2,
            "temp-dir": self.root / "t",
            "object-store-memory": 200_000_000,
        }
        with (self.root / "log").open("w") as log:
            self.process = subprocess.Popen(
                [BIN / "ray", "start", "--head", "--block", *(f"--{name}={value}" for name, value in options.items())],
                env=self.environment(),
                stdout=log,
                stderr=log,
                # Where a checkout lies, as it may for anyone who starts Ray by hand.
                cwd=Path(__file__).parent.parent.parent,
            )

    def environment(self, token: str = TOKEN, **others: str) -> dict[str, str]:
        """Of the head, and of who may use it."""
        ours = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "140"}
        return {**os.environ, **ours, "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", **others}

    def sandwich(
        self, *arguments: object, folder: Path, token: str = TOKEN, timeout: float = 60, **others: str
    ) -> subprocess.CompletedProcess[str]:
        """`sandwich ARGUMENTS` in a folder."""
        command = [str(word) for word in (BIN / "sandwich", *arguments)]
        environment = self.environment(token, **others)
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout, check=False
        )

    def submit(self, *arguments: object, **how: Any) -> subprocess.CompletedProcess[str]:
        """`sandwich submit ray tiny ARGUMENTS` to this head."""
        return self.sandwich("submit", "ray", "tiny", *arguments, "--address", self.address, **how)

    def wait(self) -> None:
        """Until it has started."""
        end = time.monotonic() + MINUTES
        while "Ray runtime started" not in (self.root / "log").read_text():
            assert time.monotonic() < end
            assert self.process.poll() is None, (self.root / "log").read_text()
            time.sleep(0.2)

    def child(self, name: str) -> psutil.Process:
        """One of the head's daemons: gcs_server, raylet."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return next(child for child in children if child.name().startswith(name))

    def end(self) -> None:
        """All that it started; workers have sessions of their own."""
        try:
            started = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            started = []
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        for process in [*started, self.process]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(20)
        shutil.rmtree(self.root, ignore_errors=True)


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    found = Head()
    try:
        found.wait()
        yield found
    finally:
        found.end()


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder to work in, with a name that has to be quoted."""
    folder = tmp_path / "it's 100% mine"
    folder.mkdir()
    return folder


def wait_for_steps(folder: Path, count: int) -> None:
    """Until PPO has recorded so many."""
    end = time.monotonic() + 5 * MINUTES
    while True:
        files = list((folder / "runs/store").glob("ppo-*/metrics.jsonl"))
        if files and len(files[0].read_text().splitlines()) >= count:
            return
        assert time.monotonic() < end
        time.sleep(0.05)


def state(head: Head, folder: Path) -> dict[str, Any]:
    return json.loads(head.sandwich("status", "tiny", "--json", folder=folder).stdout)


@pytest.mark.parametrize(
    ("token", "others", "said"),
    [
        ("f" * 32, {}, "Invalid authentication token"),
        ("", {"RAY_AUTH_MODE": "disabled"}, "Missing authentication token"),
    ],
)
def test_a_wrong_or_missing_token_is_one_line(
    head: Head, here: Path, token: str, others: dict[str, str], said: str
) -> None:
    done = head.submit(folder=here, token=token, **others)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert said in line
    assert "RAY_AUTH_TOKEN_PATH" in line
    assert not (here / "runs").exists()


def test_nobody_there_is_one_line(head: Head, here: Path) -> None:
    for address in (f"http://127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"):
        done = head.sandwich("submit", "ray", "tiny", "--address", address, folder=here)
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert f"no Ray job server answers at {address}" in line


def test_the_head_listens_on_loopback_alone(head: Head) -> None:
    listening = [[*one.laddr] for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
    assert {host for host, port in listening if port == head.dashboard} == {"127.0.0.1"}


@pytest.mark.slow
def test_a_job_saves_when_cancelled_and_the_same_submission_finishes_it(head: Head, here: Path) -> None:
    options = [*SMALL, "ppo.steps=30"]
    first = head.submit(*options, "--no-follow", "--json", folder=here)
    assert first.returncode == 0, first.stderr
    job = json.loads(first.stdout)["job"]
    second = head.submit(*options, "--no-follow", folder=here)
    assert second.returncode == 2
    assert f"has a job already: Ray job {job}" in second.stderr
    wait_for_steps(here, 2)
    assert f"Ray job {job} at {head.address}: RUNNING" in state(head, here)["ray"]
    done = head.sandwich("status", "tiny", "--cancel", folder=here)
    assert done.returncode == 0, done.stderr
    assert f"cancelled Ray job {job}" in done.stderr
    end = time.monotonic() + MINUTES
    while not state(head, here)["ray"].endswith("STOPPED"):
        assert time.monotonic() < end
    (attempt,) = read_attempts(here / "runs/tiny")
    assert (attempt.exit_code, "is saved" in str(attempt.message)) == (75, True)
    (ppo,) = (here / "runs/store").glob("ppo-*")
    reached = len((ppo / "metrics.jsonl").read_text().splitlines())
    assert 2 <= reached < 30
    assert (ppo / "checkpoints" / f"step_{reached}").is_dir()

    again = head.submit(*options, folder=here, timeout=8 * MINUTES)
    assert again.returncode == 0, again.stdout + again.stderr
    table = next((here / "runs/tiny/artifacts").glob("check*/check.txt")).read_text()
    assert table.strip().splitlines()[-1] in again.stdout
    assert "finished before  sft-seed0" in again.stdout
    found = state(head, here)
    assert {stage["state"] for stage in found["stages"]} == {"done"}
    assert len((ppo / "metrics.jsonl").read_text().splitlines()) == 30
    assert found["ray"].endswith("SUCCEEDED")


@pytest.mark.slow
def test_ctrl_c_leaves_the_job_and_its_failure_has_the_drivers_exit_code(head: Head, here: Path) -> None:
    command = [BIN / "sandwich", "submit", "ray", "tiny", *SMALL, "--address", head.address]
    process = subprocess.Popen(command, cwd=here, env=head.environment(), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = ""
    while "Running entrypoint" not in said:
        said += process.stdout.readline()
    process.send_signal(signal.SIGINT)
    said += process.communicate(timeout=30)[0]
    assert process.returncode == 0
    assert "goes on" in said
    assert state(head, here)["ray"].endswith("RUNNING")
    head.sandwich("status", "tiny", "--cancel", folder=here)
    # Without --address the cluster is RAY_ADDRESS, here as `ray.init` takes it.
    too_much = head.sandwich(
        *("submit", "ray", "tiny", "resources.cpus=3", "--run-dir", here / "other"),
        folder=here,
        timeout=2 * MINUTES,
        RAY_ADDRESS=f"127.0.0.1:{head.port}",
    )
    assert too_much.returncode == 2
    assert "the run needs 3 CPUs, there are 2" in too_much.stdout
    assert "FAILED with exit code 2" in too_much.stdout


@pytest.mark.slow
def test_a_killed_head_ends_the_driver_in_one_line(here: Path) -> None:
    head = Head()
    try:
        head.wait()
        address = {"RAY_ADDRESS": f"127.0.0.1:{head.port}"}
        command = [BIN / "sandwich", "run", "tiny", *SMALL, "ppo.steps=1000", "--only", "ppo"]
        process = subprocess.Popen(
            command, cwd=here, env=head.environment(**address), stderr=subprocess.PIPE, text=True
        )
        wait_for_steps(here, 2)
        head.child("gcs_server").kill()
        killed = time.monotonic()
        said = process.communicate(timeout=55)[1]
        assert time.monotonic() - killed < 50
    finally:
        head.end()
    assert process.returncode == 1
    assert said.count("the head of the Ray cluster") == 1
    assert "the same command goes on from the last checkpoint" in said
    (attempt,) = read_attempts(here / "runs/tiny")
    assert attempt.exit_code == 1


@pytest.mark.slow
def test_the_raylet_of_the_drivers_node_killed_the_same_command_comes_to_the_same_bits(
    here: Path, tmp_path: Path
) -> None:
    """Ray ends the driver with it. The undisturbed run is that of one process."""
    command = [BIN / "sandwich", "run", "tiny", *SMALL, "resources.cpus=1", "ppo.steps=8", "--only", "ppo"]
    right = tmp_path / "right"
    right.mkdir()
    subprocess.run([*command, "--no-ray"], cwd=right, check=True, capture_output=True, timeout=6 * MINUTES)
    head = Head()
    try:
        head.wait()
        address = {"RAY_ADDRESS": f"127.0.0.1:{head.port}"}
        process = subprocess.Popen(command, cwd=here, env=head.environment(**address), stderr=subprocess.DEVNULL)
        wait_for_steps(here, 2)
        head.child("raylet").kill()
        assert process.wait(timeout=2 * MINUTES) != 0
    finally:
        head.end()
    subprocess.run([*command, "--no-ray"], cwd=here, check=True, capture_output=True, timeout=6 * MINUTES)
    one, other = (next(folder.glob("runs/store/ppo-*")) for folder in (right, here))
    assert (one / "model/model.safetensors").read_bytes() == (other / "model/model.safetensors").read_bytes()
    own = ("time/", "ppo/engine_restarts")
    records = [
        [{key: value for key, value in row.items() if not key.startswith(own)} for row in read_metrics(place)]
        for place in (one / "metrics.jsonl", other / "metrics.jsonl")
    ]
    assert records[0] == records[1]
