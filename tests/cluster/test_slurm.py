"""Runs as jobs of a real SLURM: they start, end, are preempted and cancelled, and go on where they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sandwiching.launch.attempts import read_attempts
from sandwiching.launch.slurm import cancel, read_jobs, state_of, submit
from sandwiching.launch.slurm_fit import partitions_here

pytestmark = pytest.mark.cluster

ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"}
SMALL = ["arms.ceiling=null", "reward_model.members=1", "resources.cpus=2"]
TWO_NODES = ["resources.nodes=2", "resources.cpus=1", "resources.learner_ranks=2", "resources.rollout_engines=2"]
MINUTES = 60.0


@pytest.fixture
def here(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a name that has to be quoted; this process asks the test's cluster too."""
    monkeypatch.setenv("SLURM_CONF", str(cluster.root / "slurm.conf"))
    folder = tmp_path / "it's 100% mine"
    folder.mkdir()
    return folder


def submitted(cluster: Any, here: Path, *overrides: str) -> str:
    """Submit tiny; the job's id."""
    done = cluster.sandwich("submit", "slurm", "tiny", *overrides, "--json", folder=here)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["job"]


def log_of(here: Path) -> str:
    file = here / "runs/tiny/slurm/1.log"
    return file.read_text() if file.exists() else ""


def status(cluster: Any, here: Path) -> dict[str, Any]:
    return json.loads(cluster.sandwich("status", "tiny", "--json", folder=here).stdout)


def at_work(cluster: Any, here: Path) -> str | None:
    """The last stage of the pipeline but one, once it has made a step: PPO."""
    if not (here / "runs/tiny/plan.json").exists():
        return None
    stages = {stage["stage"]: stage for stage in status(cluster, here)["stages"]}
    return "ppo" if stages["ppo"]["step"] else None


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


def test_a_script_that_only_echoes(cluster: Any, here: Path) -> None:
    script = here / "slurm" / "1.sbatch"
    script.parent.mkdir()
    script.write_text(f"#!/bin/bash\n#SBATCH --time=00:01:00 --output='{here.parent}/out.log'\necho hello\n")
    job = submit(script, here)
    assert cluster.wait(job.id, ENDED, MINUTES) == "COMPLETED"
    assert not state_of(job).active
    assert (here.parent / "out.log").read_text() == "hello\n"


def test_the_partitions_of_a_real_sinfo(here: Path) -> None:
    found = {one.name: one for one in partitions_here()}
    assert (found["debug"].default, found["debug"].time_limit, found["high"].time_limit) == (True, "1-00:00:00", None)
    assert [(node.name, node.cpus, node.gres) for node in found["debug"].nodes] == [
        (n, 4, "gpu:2") for n in ("n1", "n2")
    ]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["resources.nodes=5", "resources.cpus=1"], "partition debug has 2 nodes (2 with 4 CPUs and gpu:2)"),
        (["slurm.gres='gpu:h100:1'"], "gpu:h100:1 each can never start: partition debug has"),
        (["resources.cpus=8"], "with 8 CPUs each can never start"),
        (["slurm.time=2-00:00:00"], "time up to 1-00:00:00"),
        (["slurm.partition=gpus"], "set slurm.partition to one of debug, high"),
        (["slurm.account=nobody", "slurm.extra=[--nonsense]"], "sbatch failed"),
    ],
)
def test_what_could_never_start_is_refused_at_once(cluster: Any, here: Path, overrides: list[str], said: str) -> None:
    done = cluster.sandwich("submit", "slurm", "tiny", *overrides, folder=here, timeout=20)
    assert done.returncode == 2
    assert said in done.stderr
    assert read_jobs(here / "runs/tiny") == []


def test_one_node(cluster: Any, here: Path) -> None:
    job = submitted(cluster, here, "resources.cpus=2")
    second = cluster.sandwich("submit", "slurm", "tiny", folder=here)
    assert second.returncode == 2
    assert f"has a job already: SLURM job {job}" in second.stderr
    assert_done(cluster, here, job)
    assert f"SLURM job {job}: COMPLETED" in cluster.sandwich("status", "tiny", folder=here).stdout


def test_two_nodes_over_ray(cluster: Any, here: Path) -> None:
    before = left_in_tmp()
    job = submitted(cluster, here, *SMALL, *TWO_NODES)
    assert_done(cluster, here, job)
    assert "Ray: 2 of 2 nodes" in log_of(here)
    assert left_in_tmp() <= before


def test_a_preempted_run_is_queued_again_and_finishes(cluster: Any, here: Path) -> None:
    job = submitted(cluster, here, *SMALL, "ppo.steps=12", "resources.checkpoint_every=1")
    cluster.wait_for(lambda: at_work(cluster, here), 6 * MINUTES, "PPO at work")
    assert cluster.wait(cluster.preempt(3), ENDED, 2 * MINUTES) == "COMPLETED"
    assert_done(cluster, here, job)
    assert "SIGUSR1 from SLURM" in log_of(here)
    assert "queued again" in log_of(here)
    assert f"job {job} on n1, start 2" in log_of(here) or f"job {job} on n2, start 2" in log_of(here)
    assert [attempt.exit_code for attempt in read_attempts(here / "runs/tiny")] == [75, 0]


def test_a_cancelled_run_stays_away_and_can_be_resumed(cluster: Any, here: Path) -> None:
    job = submitted(cluster, here, *SMALL, "ppo.steps=12", "resources.checkpoint_every=1")
    cluster.wait_for(lambda: at_work(cluster, here), 6 * MINUTES, "PPO at work")
    done = cluster.sandwich("status", "tiny", "--cancel", folder=here)
    assert done.returncode == 0, done.stderr
    assert f"cancelled SLURM job {job}" in done.stderr
    assert cluster.wait(job, ENDED, 2 * MINUTES) == "CANCELLED"
    with pytest.raises(ValueError, match="no SLURM job of this run"):
        cancel(here / "runs/tiny")
    config = "runs/tiny/slurm/1.yaml"
    again = cluster.sandwich("run", config, "--no-ray", "--json", folder=here, timeout=6 * MINUTES)
    assert again.returncode == 0, again.stderr
    found = json.loads(again.stdout)
    assert {stage["state"] for stage in found["stages"]} == {"done"}
    ppo = next(stage for stage in found["stages"] if stage["stage"] == "ppo")
    assert ppo["attempt"] == 2
    assert cluster.state(job) in ("CANCELLED", "")
