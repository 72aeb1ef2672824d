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
def test_trials_side_by_side_wait_for_each_others_stages_and_one_may_fail(tmp_path: Path) -> None:
    rates = "sweep.space.ppo.optimizer.learning_rate={choice: [1.0e-5, 1.0e+38, 1.0e-4]}"
    only = ["sweep.space.ppo.kl=null", "sweep.space.ppo.advantage=null", rates]
    settings = ["sweep.parallel=2", "sweep.search=grid", "sweep.trials=null", "sweep.scheduler=none", "ppo.steps=1"]
    done = sweep(tmp_path, *only, *settings)
    assert done.returncode == DONE, done.stderr
    # The first two start together, and both want SFT.
    logs = [file.read_text() for file in (tmp_path / "runs/tiny_sweep/trials").glob("*/log.txt")]
    assert sum("another process works on sft-" in log for log in logs) == 1
    for stage, count in (("sft", 1), ("pairs", 1), ("judgements", 1), ("reward_model", 2)):
        assert sum((path / "manifest.json").exists() for path in artifacts(tmp_path, stage)) == count
        assert len(artifacts(tmp_path, stage)) == count
    after = trials(tmp_path)
    assert {number: trial["state"] for number, trial in after.items()} == {0: "done", 1: "failed", 2: "done"}
    assert "not finite" in after[1]["error"]
    assert "FloatingPointError" in (tmp_path / "runs/tiny_sweep/trials/1/log.txt").read_text()
    assert after[1]["error"] in done.stderr
