"""What tests of runs as SLURM jobs ask and wait for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"}
SMALL = ["arms.ceiling=null", "reward_model.members=1", "ppo.steps=12", "tracking.to=[]"]
TWO_NODES = ["resources.nodes=2", "resources.cpus=1", "resources.learner_ranks=2", "resources.rollout_engines=2"]
MINUTES = 60.0


def a_folder(parent: Path) -> Path:
    folder = parent / "it's 100% mine"
    folder.mkdir(parents=True)
    return folder


def submitted(cluster: Any, here: Path, *overrides: str) -> str:
    """Submit tiny; the job's id."""
    done = cluster.sandwich("submit", "slurm", "tiny", *overrides, "--json", folder=here)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["job"]


def log_of(here: Path, submission: int = 1) -> str:
    file = here / f"runs/tiny/slurm/{submission}.log"
    return file.read_text() if file.exists() else ""


def status(cluster: Any, here: Path) -> dict[str, Any]:
    return json.loads(cluster.sandwich("status", "tiny", "--json", folder=here).stdout)


def last_step(here: Path) -> int:
    """That PPO has recorded."""
    files = list(here.glob("runs/store/ppo-*/metrics.jsonl"))
    lines = files[0].read_text().splitlines() if files else []
    return len(lines)


def at_step(cluster: Any, here: Path, step: int) -> None:
    """Wait until PPO has recorded so many steps."""
    cluster.wait_for(lambda: "yes" if last_step(here) >= step else None, 6 * MINUTES, f"step {step} of PPO")


def left_in_tmp() -> set[Path]:
    """Temporary folders of jobs."""
    return set(Path("/tmp").glob("sandwich-*"))


def assert_done(cluster: Any, here: Path, job: str) -> None:
    """The job ended well, and so did every stage; its output ends with the table of the check."""
    assert cluster.wait(job, ENDED, 8 * MINUTES) == "COMPLETED", log_of(here)
    found = status(cluster, here)
    assert {stage["state"] for stage in found["stages"]} == {"done"}
    assert found["attempts"][-1]["exit_code"] == 0
    table = next((here / "runs/tiny/artifacts").glob("check*/check.txt")).read_text()
    assert table.strip().splitlines()[-1] in log_of(here)


def without_ppo(store: Path, here: Path) -> None:
    """The finished stages before PPO, as another run's store."""
    others = shutil.ignore_patterns("ppo-*", ".ppo-*", "check-*", ".check-*", "ray")
    shutil.copytree(store, here / "runs/store", ignore=others)


def weights(here: Path) -> bytes:
    (file,) = here.glob("runs/store/ppo-*/model/model.safetensors")
    return file.read_bytes()
