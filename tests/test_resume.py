"""SFT, a reward model and PPO killed or asked to stop, then the same command: the same bits as undisturbed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

SETTINGS = [
    "sft.epochs=6",
    "reward_model.epochs=3",
    "reward_model.members=1",
    "ppo.steps=6",
    "resources.checkpoint_every=2",
    "resources.keep_finished=1",
    "resources.cpus=1",
    "tracking.to=[]",
    "arms.ceiling=null",
]
KILLED = {"sft": 5, "reward_model": 4, "ppo": 3}
"""Metrics records of a stage after which the process is killed, somewhere in the next step."""

RESTARTS = "ppo/engine_restarts"


def command(root: Path, *options: str) -> list[str]:
    where = ["--run-dir", str(root / "run"), "--store", str(root / "store")]
    sandwich = str(Path(sys.executable).with_name("sandwich"))
    return [sandwich, "run", "tiny", *SETTINGS, "--only", "ppo", *where, *options]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def finish(root: Path, *options: str) -> None:
    done = subprocess.run(
        command(root, *options), env=environment(), capture_output=True, text=True, check=False, timeout=400
    )
    assert done.returncode == 0, done.stdout + done.stderr


def records(root: Path, stage: str) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for file in sorted((root / "store").glob(f"{stage}-*/metrics.jsonl"))
        for line in file.read_text().splitlines(keepends=True)
        if line.endswith("\n")
    ]


def started(root: Path, stage: str, *options: str) -> subprocess.Popen:
    """The command at work, once the stage has written enough records."""
    process = subprocess.Popen(
        command(root, *options),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_for(process, root, stage, KILLED[stage])
    return process


def wait_for(process: subprocess.Popen, root: Path, stage: str, steps: int) -> None:
    """Until the stage has written so many records."""
    deadline = time.monotonic() + 300
    while len(records(root, stage)) < steps:
        assert process.poll() is None, f"the run ended before {steps} steps of {stage}"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def kill_worker(process: subprocess.Popen, title: str) -> None:
    """kill -9 one of the run's Ray workers, by what `ps` shows of it."""
    children = psutil.Process(process.pid).children(recursive=True)
    next(child for child in children if title in " ".join(child.cmdline())).kill()


def hang_worker(process: subprocess.Popen, title: str) -> None:
    """SIGSTOP of one of the run's Ray workers: it hangs, and with it every collective."""
    children = psutil.Process(process.pid).children(recursive=True)
    next(child for child in children if title in " ".join(child.cmdline())).suspend()


def kill_in(root: Path, stage: str, *options: str) -> None:
    """Kill the command in the stage, with all its children."""
    process = started(root, stage, *options)
    # Ray's processes have sessions of their own, and would finish a short stage without their driver.
    for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()
    assert not list((root / "store").glob(f"{stage}-*/manifest.json"))


def stop_in(root: Path, stage: str, *options: str) -> None:
    """Ask the command to stop in the stage, as SLURM does: no step that was recorded is lost."""
    process = started(root, stage, *options)
    process.send_signal(signal.SIGUSR1 if stage == "sft" else signal.SIGTERM)
    assert process.wait(timeout=100) == 75
    (checkpoints,) = (root / "store").glob(f"{stage}-*/checkpoints")
    newest = max(int(path.name.removeprefix("step_")) for path in checkpoints.glob("step_*"))
    assert newest == len(records(root, stage)) >= KILLED[stage]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if hasattr(a, "__dict__") and not callable(a):
        return same(vars(a), vars(b))
    return a == b


def differing_files(folder: Path, other: Path) -> list[str]:
    """Exported files, and the optimiser state of the last checkpoint."""
    names = [str(file.relative_to(folder)) for file in sorted(folder.rglob("*")) if file.is_file()]
    exported = [name for name in names if name.startswith(("model/", "adapter/", "snapshots/"))]
    weights = [name for name in exported if name.endswith((".safetensors", ".json"))]
    # The adapter's config names the store's folder, in which the two runs differ.
    places = [str(root.parent).encode() for root in (folder, other)]
    different = [
        name
        for name in weights
        if (folder / name).read_bytes().replace(places[0], b"") != (other / name).read_bytes().replace(places[1], b"")
    ]
    newest = max((folder / "checkpoints").iterdir(), key=lambda path: int(path.name.removeprefix("step_"))).name
    states = [name for name in names if name.startswith(f"checkpoints/{newest}/") and name.endswith((".pt", ".pth"))]
    assert states
    for name in states:
        loaded = [torch.load(root / name, weights_only=False) for root in (folder, other)]
        if not same(*loaded):
            different.append(name)
    return different


def results(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records without what says how long it took, and how often a process was lost."""
    return [
        {key: value for key, value in row.items() if not key.startswith("time/") and key != RESTARTS} for row in rows
    ]


def undisturbed(root: Path, *options: str) -> Path:
    """A run to the end."""
    finish(root, *options)
    return root


def disturbed(root: Path, disturb: Callable[..., None], *options: str) -> Path:
    """A run that was disturbed once in each stage, to the end."""
    for stage in KILLED:
        disturb(root, stage, *options)
    finish(root, *options)
    return root


def check_same(one: Path, two: Path) -> None:
    for stage in KILLED:
        (folder,) = (path.parent for path in (one / "store").glob(f"{stage}-*/manifest.json"))
        other = two / "store" / folder.name
        assert differing_files(folder, other) == []
        assert results(records(one, stage)) == results(records(two, stage))


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return undisturbed(tmp_path_factory.mktemp("right"), "--no-ray")


@pytest.mark.parametrize("disturb", [kill_in, stop_in])
def test_a_disturbed_run_goes_on_to_the_same_bits(right: Path, tmp_path: Path, disturb: Callable[..., None]) -> None:
    check_same(right, disturbed(tmp_path, disturb, "--no-ray"))
    assert all(int(file.read_text()) > 1 for stage in KILLED for file in tmp_path.glob(f"store/{stage}-*/attempt"))


def test_every_metric_is_documented(right: Path) -> None:
    page = Path(__file__).parent.parent / "docs" / "metrics.md"
    known = re.findall(
        r"`([^`]+)`", "".join(line.split("|")[1] for line in page.read_text().splitlines() if "|" in line)
    )
    manifests = [json.loads(file.read_text()) for file in (right / "store").glob("*/manifest.json")]
    written = {key for stage in KILLED for record in records(right, stage) for key in record}
    written |= {key for manifest in manifests for key in manifest["metrics"]}
    assert {"ppo/kl", "sft/demonstrations"} <= written
    assert sorted(key for key in written if not any(fnmatch(key, pattern) for pattern in known)) == []


@pytest.mark.slow
def test_a_disturbed_run_on_ray_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    right = undisturbed(tmp_path / "right")
    for disturb in (kill_in, stop_in):
        check_same(right, disturbed(tmp_path / disturb.__name__, disturb))


@pytest.mark.slow
def test_a_rank_that_hangs_counts_as_lost_and_changes_nothing(tmp_path: Path) -> None:
    ranks = ("resources.learner_ranks=2", "resources.cpus=2", "resources.call_timeout=30")
    right, root = undisturbed(tmp_path / "right", *ranks), tmp_path / "hung"
    process = started(root, "ppo", *ranks)
    hang_worker(process, "LearnerActor")
    assert process.wait(timeout=400) == 0
    check_same(right, root)
    (log,) = (root / "run" / "attempts").glob("*.log")
    assert "of the learner is lost" in log.read_text()


@pytest.mark.slow
def test_lost_ray_processes_change_nothing(tmp_path: Path) -> None:
    ranks = ("resources.learner_ranks=2", "resources.cpus=2")
    right, root = undisturbed(tmp_path / "right", *ranks), tmp_path / "lost"
    process = started(root, "sft", *ranks)
    kill_worker(process, "TrainWorker")
    for steps, title in ((1, "EngineActor"), (2, "ScorerActor"), (3, "LearnerActor")):
        wait_for(process, root, "ppo", steps)
        kill_worker(process, title)
    assert process.wait(timeout=400) == 0
    check_same(right, root)
    assert any(record[RESTARTS] for record in records(root, "ppo"))
    (log,) = (root / "run" / "attempts").glob("*.log")
    for lost in ("worker errors", "EngineActor 0 is lost", "ScorerActor 0 is lost", "of the learner is lost"):
        assert lost in log.read_text()
