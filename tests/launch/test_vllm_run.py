"""Whole runs with rollouts by vLLM: an engine killed in the middle, a run killed in the middle."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

SETTINGS = [
    "ppo.engine=vllm",
    "ppo.steps=6",
    "ppo.batch_size=4",
    "ppo.most_mismatch=1e-3",
    "task.max_prompts=24",
    "reward_model.members=1",
    "resources.checkpoint_every=2",
    "tracking.to=[]",
    "arms.ceiling=null",
]


def start(root: Path, *options: str) -> psutil.Popen:
    """`sandwich run tiny --only ppo`, in one process and vLLM's."""
    sandwich = str(Path(sys.executable).with_name("sandwich"))
    where = ["--run-dir", str(root / "run"), "--store", str(root / "store"), "--only", "ppo", "--no-ray"]
    log = (root / "log").open("ab")
    return psutil.Popen([sandwich, "run", "tiny", *SETTINGS, *where, *options], stdout=log, stderr=subprocess.STDOUT)


def finished(run: psutil.Popen, root: Path) -> str:
    assert run.wait(400) == 0, (root / "log").read_text()[-3000:]
    return (root / "log").read_text()


def records(root: Path) -> list[dict[str, Any]]:
    rows = [line for file in (root / "store").glob("ppo-*/metrics.jsonl") for line in file.read_text().splitlines()]
    return [json.loads(row) for row in rows]


def after(root: Path, steps: int, run: psutil.Popen, act: Callable[[], None]) -> None:
    """Act once so many steps are on record."""
    while len(records(root)) < steps:
        assert run.poll() is None, (root / "log").read_text()[-3000:]
        time.sleep(0.05)
    act()


def kill_engine(run: psutil.Popen) -> None:
    (server,) = [child for child in run.children() if any("serve.py" in word for word in child.cmdline())]
    server.send_signal(signal.SIGKILL)


@pytest.mark.vllm
def test_an_engine_killed_in_a_run_is_replaced_and_the_run_is_as_if_nothing_had_been(tmp_path: Path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for root in (whole, broken):
        root.mkdir()
    finished(start(whole), whole)
    run = start(broken)
    after(broken, 3, run, lambda: kill_engine(run))
    finished(run, broken)
    (log,) = (broken / "run" / "attempts").glob("*.log")
    assert re.search(r"the vLLM process \d+ ended in", log.read_text())
    assert records(broken)[-1]["ppo/engine_restarts"] == 1
    for row, other in zip(records(whole), records(broken), strict=True):
        own = "time/", "ppo/engine_restarts"
        same = [{k: v for k, v in r.items() if not k.startswith(own)} for r in (row, other)]
        assert same[0] == same[1]
    assert max(row["ppo/engine_mismatch"] for row in records(whole)) < 1e-3


@pytest.mark.vllm
def test_a_run_killed_one_step_off_trains_on_every_prompt_once(tmp_path: Path):
    run = start(tmp_path, "ppo.staleness=1")
    servers: list[psutil.Process] = []

    def kill() -> None:
        servers.extend(run.children())
        os.kill(run.pid, signal.SIGKILL)

    after(tmp_path, 3, run, kill)
    run.wait()
    finished(start(tmp_path, "ppo.staleness=1"), tmp_path)
    rows = records(tmp_path)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["ppo/staleness"] for row in rows] == [0, 1, 1, 1, 1, 1]
    prompts = [prompt for row in rows for prompt in row["prompts"]]
    assert len(prompts) == len(set(prompts)) == 24, "the epoch's prompts, each once"
    assert not any(server.is_running() for server in servers)


@pytest.mark.vllm
def test_on_ray(tmp_path: Path):
    """Roles with devices of their own: parts of two rows an engine, scored while others are sampled."""
    apart = "resources.colocate=false", "resources.rollout_batch=1", "resources.rollout_engines=2"
    run = start(tmp_path, "--ray", *apart, "ppo.staleness=1", "ppo.steps=3")
    finished(run, tmp_path)
    assert [row["ppo/staleness"] for row in records(tmp_path)] == [0, 1, 1]


def test_without_vllm_one_line_says_how_to_get_it(tmp_path: Path):
    run = start(tmp_path, f"resources.vllm.python={tmp_path}/nowhere/python")
    assert run.wait(200) != 0
    assert f"resources.vllm.python={tmp_path}/nowhere/python does not exist" in (tmp_path / "log").read_text()
    assert not list((tmp_path / "store").glob("*")), "before anything is trained"
