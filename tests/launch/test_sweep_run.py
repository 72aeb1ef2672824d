"""Sweeps for real: Ray Tune, Optuna and PPO on the tiny model, interrupted and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sandwiching.configs.load import load

SANDWICH = Path(sys.executable).with_name("sandwich")
DONE, INTERRUPTED = 0, 75


def command(*settings: str) -> list[str]:
    return [str(SANDWICH), "sweep", "tiny_sweep", "--json", *settings]


def environment() -> dict[str, str]:
    known = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200"}
    known.pop("RAY_ADDRESS", None)
    return known


def sweep(folder: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*settings), cwd=folder, env=environment(), capture_output=True, text=True, check=False, timeout=1800
    )


def trials(folder: Path) -> dict[int, dict[str, Any]]:
    files = (folder / "runs/tiny_sweep/trials").glob("*/trial.json")
    return {int(file.parent.name): json.loads(file.read_text()) for file in files}


def artifacts(folder: Path, stage: str) -> list[Path]:
    return sorted((folder / "runs/store").glob(f"{stage}-*"))


def attempts(paths: list[Path]) -> list[int]:
    return [int((path / "attempt").read_text()) for path in paths]


def stop_within(folder: Path, number: int, *settings: str) -> int:
    """Start a sweep and send SIGTERM once trial `number` has made a PPO step; its exit code."""
    with (folder / "first.log").open("w") as log:
        process = subprocess.Popen(command(*settings), cwd=folder, env=environment(), stdout=log, stderr=log)
        while not trials(folder).get(number, {}).get("results"):
            assert process.poll() is None, (folder / "first.log").read_text()
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        return process.wait(300)


@pytest.mark.slow
def test_twelve_trials_share_stages_and_survive_sigterm(tmp_path: Path) -> None:
    # asha judges after the third of four steps: the trial that is stopped after its first is not ended by it.
    settings = ["sweep.grace=3"]
    assert stop_within(tmp_path, 5, *settings) == INTERRUPTED
    before = trials(tmp_path)
    assert sorted(before) == list(range(6)), "no trial begins after the signal"
    assert before[5]["state"] == "interrupted"
    assert {trial["state"] for number, trial in before.items() if number < 5} <= {"done", "pruned"}
    log = (tmp_path / "first.log").read_text()
    assert "the same command goes on from there" in log

    done = sweep(tmp_path, *settings)
    assert done.returncode == DONE, done.stderr
    after = trials(tmp_path)
    assert sorted(after) == list(range(12))
    assert {number: after[number] for number in range(5)} == {number: before[number] for number in range(5)}
    assert after[5]["params"] == before[5]["params"]
    assert {trial["state"] for trial in after.values()} <= {"done", "pruned"}
    (ppo,) = (name for stage, name in after[5]["stages"].items() if stage.startswith("ppo"))
    assert attempts([tmp_path / "runs/store" / ppo]) == [2]
    first = str(min(int(step) for step in before[5]["results"]))
    assert after[5]["results"][first] == before[5]["results"][first], "made once, and not sampled anew"

    for stage, count in (("sft", 1), ("pairs", 1), ("judgements", 1), ("reward_model", 2)):
        assert attempts(artifacts(tmp_path, stage)) == [1] * count, stage
    points = {json.dumps(trial["params"], sort_keys=True) for trial in after.values()}
    assert len(points) == len(artifacts(tmp_path, "ppo")) == 12

    outcome = json.loads(done.stdout)
    values = {number: trial["value"] for number, trial in after.items() if trial["state"] == "done"}
    assert values[outcome["best"]] == max(values.values())
    best = load(tmp_path / "runs/tiny_sweep/best.yaml")
    assert best.ppo is not None
    assert best.ppo.optimizer.learning_rate == after[outcome["best"]]["params"]["ppo.optimizer.learning_rate"]
    assert len(outcome["plots"]) + len(outcome["notes"]) == 5
    assert all("</svg>" in Path(plot).read_text() for plot in outcome["plots"])


@pytest.mark.slow
def test_trials_side_by_side_wait_for_each_others_stages(tmp_path: Path) -> None:
    settings = ["sweep.parallel=2", "sweep.trials=3", "sweep.scheduler=none", "ppo.steps=1"]
    # The first two of the grid-less search start together: both want SFT. The third diverges at once.
    failing = ["sweep.space={ppo.optimizer.learning_rate: {choice: [1.0e-5, 1.0e+38]}}", "sweep.search=random"]
    done = sweep(tmp_path, *settings, *failing)
    assert done.returncode == DONE, done.stderr
    for stage in ("sft", "pairs", "judgements", "reward_model"):
        finished = artifacts(tmp_path, stage)
        assert len(finished) == (2 if stage == "reward_model" else 1)
        assert all((path / "manifest.json").exists() for path in finished)
    logs = [(file).read_text() for file in (tmp_path / "runs/tiny_sweep/trials").glob("*/log.txt")]
    assert any("another process works on sft-" in log for log in logs)
