"""Status from files alone: finished, running, stopped and waiting stages; speed; the last error."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from dataclasses import asdict
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from sandwiching.launch.attempts import AttemptRecord
from sandwiching.launch.status import Jobs, read_status, seconds_per_step, show, watch
from sandwiching.training.artifacts import StageFolder, Store, write_manifest
from sandwiching.training.metrics import MetricsLog

NAMES = ("sft", "pairs", "reward_model", "ppo")


def planned(store: Store, run_dir: Path) -> None:
    """plan.json of a run whose stages have the key `key`."""
    run_dir.mkdir(parents=True)
    stages = [{"name": f"{name}-seed0", "stage": name, "folder": str(store.folder(name, "key"))} for name in NAMES]
    (run_dir / "plan.json").write_text(json.dumps({"stages": stages, "placement": ["2 nodes, 8 GPUs"]}))


def finish(folder: StageFolder, stage: str) -> None:
    fields = {"stage": stage, "version": 1, "key": "key", "inputs": {}, "parents": {}, "seconds": 2.0}
    write_manifest(folder, {**fields, "metrics": {f"{stage}/loss": 0.25}})


def work(folder: StageFolder, steps: int, total: int) -> None:
    log = MetricsLog(folder.metrics)
    for step in range(1, steps + 1):
        log.write({"step": step, "ppo/score": step / 10, "time/generate": 1.5, "time/update": 0.5})
    folder.report(steps, total)


def attempt(run_dir: Path, **fields: object) -> None:
    record = AttemptRecord(1, "sandwich run", socket.gethostname(), os.getpid(), started=0.0)
    file = run_dir / "attempts" / "1.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({**asdict(record), **fields}))


@pytest.fixture
def run(tmp_path: Path) -> tuple[Store, Path]:
    store, run_dir = Store(tmp_path / "store"), tmp_path / "runs" / "x"
    planned(store, run_dir)
    return store, run_dir


def test_every_state(run: tuple[Store, Path]) -> None:
    store, run_dir = run
    with store.claim("sft", "key", print) as folder:
        finish(folder, "sft")
    with store.claim("pairs", "key", print) as folder:
        folder.report(3, 10)
    with store.claim("reward_model", "key", print) as folder:
        work(folder, 4, 10)
        found = {stage.stage: stage for stage in read_status(run_dir).stages}
    assert [found[name].state for name in NAMES] == ["done", "stopped", "running", "waiting"]
    assert found["sft"].metrics == {"sft/loss": 0.25}
    assert (found["pairs"].attempt, found["pairs"].step, found["pairs"].total) == (1, 3, 10)
    assert found["reward_model"].seconds_per_step == pytest.approx(2.0)
    assert found["reward_model"].seconds_left == pytest.approx(12.0)
    assert found["reward_model"].metrics["ppo/score"] == pytest.approx(0.4)
    assert found["ppo"].attempt == 0
    assert found["ppo"].seconds_left is None


def test_asking_does_not_disturb_the_lock(run: tuple[Store, Path]) -> None:
    store, run_dir = run
    waited: list[str] = []
    with store.claim("sft", "key", waited.append):
        assert read_status(run_dir).stages[0].state == "running"
    with store.claim("sft", "key", waited.append) as folder:
        assert folder.attempt == 2
    assert waited == []


def test_a_torn_last_line_is_ignored(run: tuple[Store, Path]) -> None:
    store, run_dir = run
    with store.claim("ppo", "key", print) as folder:
        work(folder, 2, 5)
        with folder.metrics.open("a") as stream:
            stream.write('{"step": 3, "ppo/sc')
    assert read_status(run_dir).stages[3].metrics["ppo/score"] == pytest.approx(0.2)


def test_speed_is_that_of_the_last_steps() -> None:
    records = [{"step": 1, "time/a": 100.0}] + [{"step": i, "time/a": 1.0, "time/b": 2.0} for i in range(2, 9)]
    assert seconds_per_step(records) == pytest.approx(3.0)
    assert seconds_per_step([]) is None
    assert seconds_per_step([{"step": 1, "sft/loss": 2.0}]) is None


def test_the_last_error_is_shown_and_forgotten_after_a_success(run: tuple[Store, Path]) -> None:
    _, run_dir = run
    attempt(run_dir, ended=5.0, exit_code=1, message="the disk is full [/red]")
    status = read_status(run_dir)
    out = StringIO()
    show(status, Console(file=out, width=140))
    assert "the disk is full [/red]" in out.getvalue()
    assert "exit code 1" in out.getvalue()
    assert "2 nodes, 8 GPUs" in out.getvalue()
    assert status.as_json()["last_error"] == "the disk is full [/red]"
    attempt(run_dir, ended=5.0, exit_code=0)
    assert read_status(run_dir).last_error is None


def test_a_run_that_failed_before_its_plan(tmp_path: Path) -> None:
    attempt(tmp_path, ended=5.0, exit_code=2, message="no GPUs")
    status = read_status(tmp_path)
    assert (status.stages, status.last_error) == ([], "no GPUs")


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sandwich run"):
        read_status(tmp_path)


def test_watch_shows_changes_and_ends_with_the_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store, run_dir, out = Store(tmp_path / "store"), tmp_path / "run", StringIO()
    planned(store, run_dir)
    attempt(run_dir, ended=None, exit_code=None)

    def ends(seconds: float) -> None:
        with store.claim("ppo", "key", on_wait=print) as folder:
            work(folder, 3, 8)
        attempt(run_dir, ended=2.0, exit_code=75)

    monkeypatch.setattr("time.sleep", ends)
    watch(run_dir, Console(file=out, width=140, force_terminal=True))
    assert "not ended" in out.getvalue()
    assert "3/8" in out.getvalue()
    assert "exit code 75" in out.getvalue()


def test_a_killed_driver_is_told_from_one_at_work(run: tuple[Store, Path]) -> None:
    store, run_dir = run
    dead = subprocess.Popen(["true"])
    dead.wait()
    attempt(run_dir, process=dead.pid)
    status, out = read_status(run_dir), StringIO()
    show(status, Console(file=out, width=140))
    assert (status.killed, status.over) == (True, True)
    assert "killed; the same command goes on" in out.getvalue()
    attempt(run_dir)
    assert not read_status(run_dir).killed
    elsewhere = {"process": dead.pid, "host": "another"}
    attempt(run_dir, **elsewhere)
    assert not read_status(run_dir).killed, "nobody knows"
    assert read_status(run_dir, Jobs(slurm="SLURM job 1: FAILED")).killed
    assert not read_status(run_dir, Jobs(slurm="SLURM job 1: RUNNING", active=True)).killed
    with store.claim("sft", "key", print):
        assert not read_status(run_dir, Jobs(slurm="SLURM job 1: FAILED")).killed, "a stage is at work"


def test_watch_goes_on_while_a_job_is_queued_again(run: tuple[Store, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """And asks its scheduler only now and then, but when the run seems to be over."""
    _, run_dir = run
    attempt(run_dir, ended=None)
    answers = iter([Jobs("RUNNING", active=True), Jobs("PENDING", active=True), Jobs("COMPLETED")])
    asked, slept = [], []
    clock = {"now": 1000.0}

    def look(folder: Path) -> Jobs:
        asked.append(clock["now"])
        return next(answers)

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock["now"] += seconds
        attempt(run_dir, ended=2.0, exit_code=75)

    monkeypatch.setattr("sandwiching.launch.status.read_jobs", look)
    monkeypatch.setattr("time.sleep", sleep)
    monkeypatch.setattr("time.monotonic", lambda: clock["now"])
    watch(run_dir, Console(file=StringIO(), width=140))
    assert asked == [1000.0, 1030.0, 1060.0]
    assert len(slept) == 30


def test_a_divergence_is_json_too(run: tuple[Store, Path]) -> None:
    store, run_dir = run
    with store.claim("ppo", "key", print) as folder, pytest.raises(FloatingPointError):
        MetricsLog(folder.metrics).write({"step": 1, "ppo/score": float("nan")})
    with store.claim("sft", "key", print) as folder:
        fields = {"stage": "sft", "version": 1, "key": "key", "inputs": {}, "parents": {}, "seconds": 2.0}
        write_manifest(folder, {**fields, "metrics": {"sft/loss": float("inf")}})
    status = read_status(run_dir)
    text = json.dumps(status.as_json(), allow_nan=False)
    assert [stage["metrics"] for stage in json.loads(text)["stages"]][0::3] == [{"sft/loss": None}, {"ppo/score": None}]
    show(status, Console(file=StringIO(), width=140))
