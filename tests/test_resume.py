"""kill -9 in the middle of SFT, of a reward model and of PPO, then the same command: the same bits as undisturbed."""

import json
import os
import re
import subprocess
import sys
import time
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
    "resources.cpus=1",
    "tracking.to=[]",
    "arms.ceiling=null",
]
KILLED = {"sft": 5, "reward_model": 4, "ppo": 3}
"""Metrics records of a stage after which the process is killed, somewhere in the next step."""


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


def kill_in(root: Path, stage: str, *options: str) -> None:
    """Start the command and kill it, with all its children, once the stage has written enough records."""
    process = subprocess.Popen(
        command(root, *options),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 300
    while len(records(root, stage)) < KILLED[stage]:
        assert process.poll() is None, f"the run ended before {KILLED[stage]} steps of {stage}"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    # Ray's processes have sessions of their own, and would finish a short stage without their driver.
    for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()
    assert not list((root / "store").glob(f"{stage}-*/manifest.json"))


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
    states = [name for name in names if name.startswith("checkpoints/") and name.endswith((".pt", ".pth"))]
    assert states
    for name in states:
        loaded = [torch.load(root / name, weights_only=False) for root in (folder, other)]
        if not same(*loaded):
            different.append(name)
    return different


def without_time(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if not key.startswith("time/")} for row in rows]


def disturb(root: Path, *options: str) -> tuple[Path, Path]:
    """Two runs to the end: undisturbed, and killed once in each stage."""
    undisturbed, disturbed = root / "undisturbed", root / "disturbed"
    finish(undisturbed, *options)
    for stage in KILLED:
        kill_in(disturbed, stage, *options)
    finish(disturbed, *options)
    return undisturbed, disturbed


def check_same(undisturbed: Path, disturbed: Path) -> None:
    for stage in KILLED:
        (folder,) = (path.parent for path in (undisturbed / "store").glob(f"{stage}-*/manifest.json"))
        other = disturbed / "store" / folder.name
        assert int((other / "attempt").read_text()) > 1
        assert differing_files(folder, other) == []
        assert without_time(records(undisturbed, stage)) == without_time(records(disturbed, stage))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return disturb(tmp_path_factory.mktemp("resume"), "--no-ray")


def test_a_killed_run_goes_on_to_the_same_bits(runs: tuple[Path, Path]) -> None:
    check_same(*runs)


def test_every_metric_is_documented(runs: tuple[Path, Path]) -> None:
    page = Path(__file__).parent.parent / "docs" / "metrics.md"
    known = re.findall(
        r"`([^`]+)`", "".join(line.split("|")[1] for line in page.read_text().splitlines() if "|" in line)
    )
    manifests = [json.loads(file.read_text()) for file in (runs[0] / "store").glob("*/manifest.json")]
    written = {key for stage in KILLED for record in records(runs[0], stage) for key in record}
    written |= {key for manifest in manifests for key in manifest["metrics"]}
    assert {"ppo/kl", "sft/demonstrations"} <= written
    assert sorted(key for key in written if not any(fnmatch(key, pattern) for pattern in known)) == []


@pytest.mark.slow
def test_a_killed_run_on_ray_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    check_same(*disturb(tmp_path))
