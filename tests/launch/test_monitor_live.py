"""What watches the training is not part of it: the same bits with monitors off, following live, and with a canary."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sandwiching.configs.load import load, to_yaml
from sandwiching.launch.monitor_command import monitor_command

SETTINGS = [
    "ppo.steps=24",
    "ppo.snapshot_every=4",
    "resources.checkpoint_every=12",
    "resources.keep_finished=1",
    "resources.cpus=1",
    "tracking.to=[]",
    "arms.ceiling=null",
    "check.curve_prompts=10",
    "check.samples=4",
    "monitor.false_alarms=0.1",
]
COMMAND = [sys.executable, "-c", "from sandwiching.launch.cli import main; main()"]
DONE = {4, 8, 12, 16, 20, 24}


def sandwich(root: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(root: Path, only: str) -> subprocess.Popen[str]:
    where = ["--run-dir", str(root / "run"), "--store", str(root / "store")]
    return sandwich(root, "run", "tiny", *SETTINGS, "--only", only, "--no-ray", *where)


def ended(process: subprocess.Popen[str], seconds: float = 400) -> str:
    said, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0, said
    return said


def feed(digest: Any, value: Any) -> None:
    """A state's content, without the bytes in which pickle happens to write it."""
    if isinstance(value, torch.Tensor):
        digest.update(str((value.dtype, tuple(value.shape))).encode())
        digest.update(
            value.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes() if value.numel() else b""
        )
    elif isinstance(value, np.ndarray):
        digest.update(value.tobytes())
    elif isinstance(value, dict):
        for key in value:
            digest.update(repr(key).encode())
            feed(digest, value[key])
    elif isinstance(value, list | tuple):
        for one in value:
            feed(digest, one)
    elif hasattr(value, "__dict__") and not callable(value):
        feed(digest, vars(value))
    else:
        digest.update(repr(value).encode())


def digests(root: Path) -> dict[str, str]:
    """SHA-256 of weights, of the optimiser's and every random generator's state at the end, and of each snapshot."""
    (ppo,) = (root / "store").glob("ppo-*")
    found = {str(file.relative_to(ppo)): file for file in sorted(ppo.rglob("*.safetensors"))}
    hashes = {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in found.items()}
    states = [file for file in sorted((ppo / "checkpoints" / "step_24").rglob("*")) if file.suffix in (".pt", ".pth")]
    for file in states:
        digest = hashlib.sha256()
        feed(digest, torch.load(file, weights_only=False))
        hashes[str(file.relative_to(ppo))] = digest.hexdigest()
    assert any("optim" in name for name in hashes), sorted(hashes)
    assert {"checkpoints/step_24/loop.pt", "model/model.safetensors"} <= hashes.keys()
    return hashes


def watched(root: Path, *options: str) -> tuple[list[dict[str, Any]], bool]:
    """Train PPO while `sandwich monitor --follow` reads: its records, and whether it had any before PPO's end."""
    ended(run(root, "reward_model"))
    monitor = sandwich(root, "monitor", str(root / "run"), "--follow", *options)
    training, during = run(root, "ppo"), False
    file = root / "run" / "monitor" / "alarms.jsonl"
    while training.poll() is None:
        assert monitor.poll() is None or list((root / "store").glob("ppo-*/manifest.json")), monitor.communicate()[0]
        during = during or file.exists()
        time.sleep(0.02)
    ended(training)
    ended(monitor)
    return [json.loads(line) for line in file.read_text().splitlines()], during


def test_the_digest_can_tell() -> None:
    def digest(value: Any) -> str:
        found = hashlib.sha256()
        feed(found, value)
        return found.hexdigest()

    state = {"weights": torch.arange(4.0), "step": torch.tensor(3), "random": [np.arange(3), (1, "a")]}
    others = (
        {**state, "weights": torch.tensor([0.0, 1.0, 2.0, 3.0000002])},
        {**state, "step": torch.tensor(4)},
        {**state, "random": [np.arange(3), (1, "b")]},
        {**state, "random": [np.array([0, 1, 3]), (1, "a")]},
    )
    assert digest(state) == digest({**state, "weights": torch.arange(4.0)})
    assert digest(state) not in {digest(other) for other in others}


def test_what_cannot_be_watched_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no config\.yaml: give the folder of a run that has begun, or its name"):
        monitor_command(str(tmp_path), False, False, 1, False, False)
    (tmp_path / "config.yaml").write_text(to_yaml(load("tiny", ["ppo=null"])))
    with pytest.raises(ValueError, match=r"no plan.json"):
        monitor_command(str(tmp_path), False, False, 1, False, False)
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(ValueError, match="the run has no PPO, and so no snapshots to watch"):
        monitor_command(str(tmp_path), False, False, 1, False, False)


@pytest.mark.slow
def test_monitors_and_a_canary_change_no_bit_of_the_training(tmp_path: Path) -> None:
    off, on, canary = (tmp_path / name for name in ("off", "on", "canary"))
    off.mkdir()
    ended(run(off, "reward_model"))
    for other in (on, canary):
        shutil.copytree(off / "store", other / "store")
    ended(run(off, "ppo"))
    records, during = watched(on)
    sung, during_canary = watched(canary, "--canary")
    assert during
    assert during_canary
    expected = digests(off)
    assert digests(on) == expected
    assert digests(canary) == expected
    for found in (records, sung):
        assert {record["updates"] for record in found} == DONE
        assert {"probe_weak", "random_labels", "distance", "spread", "length"} <= {one["monitor"] for one in found}
    alarms = [record for record in sung if record["monitor"] == "canary"]
    assert all(record["alarm"] and len(record["notes"]) == 2 for record in alarms)
    assert len(alarms) == len(DONE)
    # What both saw of the same snapshots is the same, whoever else was there.
    assert [record for record in sung if record["monitor"] != "canary"] == records
    assert whole_of(on) == whole_of(off)


def whole_of(root: Path) -> dict[str, str]:
    """Every file of what was finished before PPO: a monitor wrote nothing there."""
    files = [
        file for stage in ("sft", "judgements", "reward_model") for file in (root / "store").glob(f"{stage}-*/**/*")
    ]
    return {
        str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()
    }
