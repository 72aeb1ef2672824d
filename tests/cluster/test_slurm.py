"""Runs as jobs of a real SLURM: they start, end, are preempted and cancelled, and go on where they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from slurm_runs import (
    ENDED,
    MINUTES,
    SMALL,
    a_folder,
    assert_done,
    at_step,
    last_step,
    log_of,
    submitted,
    weights,
    without_ppo,
)

from sandwiching.launch.attempts import read_attempts
from sandwiching.launch.slurm import cancel, read_jobs, state_of, submit
from sandwiching.launch.slurm_fit import partitions_here

pytestmark = pytest.mark.cluster


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


def test_preempted_cancelled_and_out_of_time_in_ppo_it_ends_with_the_same_weights(
    cluster: Any, here: Path, tmp_path: Path
) -> None:
    """One node, one process; behind the stages of an undisturbed run."""
    settings = (*SMALL, "ppo.steps=80", "resources.cpus=1", "--no-ray")
    right = a_folder(tmp_path / "right")
    cluster.sandwich("run", "tiny", *settings, "--only", "ppo", folder=right, timeout=8 * MINUTES)
    without_ppo(right / "runs/store", here)

    job = submitted(cluster, here, *settings, "--only", "ppo")
    at_step(cluster, here, 2)
    assert cluster.wait(cluster.preempt(1), ENDED, 2 * MINUTES) == "COMPLETED"
    cluster.says(here / "runs/tiny/slurm", "start 2", MINUTES)
    at_step(cluster, here, last_step(here) + 2)
    done = cluster.sandwich("status", "tiny", "--cancel", folder=here)
    assert done.returncode == 0, done.stderr
    assert f"cancelled SLURM job {job}" in done.stderr
    assert cluster.wait(job, ENDED, MINUTES) == "CANCELLED"
    with pytest.raises(ValueError, match="no SLURM job of this run"):
        cancel(here / "runs/tiny", print)

    job = submitted(cluster, here, *settings, "--only", "ppo")
    at_step(cluster, here, last_step(here) + 2)
    driver = read_attempts(here / "runs/tiny")[-1].process
    cluster.run_out_of_time(job, here / "runs/tiny/slurm/2.log", 2 * MINUTES, driver)
    assert cluster.wait(job, ENDED, 5 * MINUTES) == "COMPLETED"
    assert [log_of(here, number).splitlines().count("queued again") for number in (1, 2)] == [1, 1]
    assert [attempt.exit_code for attempt in read_attempts(here / "runs/tiny")] == [75, 75, 75, 0]
    assert weights(here) == weights(right)


@pytest.mark.slow
def test_one_node(cluster: Any, here: Path) -> None:
    job = submitted(cluster, here, "resources.cpus=2")
    assert_done(cluster, here, job)


@pytest.mark.slow
def test_what_a_cancelled_job_saved_goes_on_without_slurm(cluster: Any, here: Path) -> None:
    job = submitted(cluster, here, *SMALL, "resources.cpus=2", "resources.checkpoint_every=1")
    at_step(cluster, here, 3)
    cluster.sandwich("status", "tiny", "--cancel", folder=here)
    assert cluster.wait(job, ENDED, 2 * MINUTES) == "CANCELLED"
    config = "runs/tiny/slurm/1.yaml"
    again = cluster.sandwich("run", config, "--no-ray", "--json", folder=here, timeout=6 * MINUTES)
    assert again.returncode == 0, again.stderr
    found = json.loads(again.stdout)
    assert {stage["state"] for stage in found["stages"]} == {"done"}
    ppo = next(stage for stage in found["stages"] if stage["stage"] == "ppo")
    assert ppo["attempt"] == 2
    assert cluster.state(job) in ("CANCELLED", "")


@pytest.mark.slow
def test_a_sweep_as_an_array_of_two_jobs(cluster: Any, here: Path) -> None:
    settings = ("resources.cpus=2", "sweep.trials=4")
    done = cluster.sandwich(
        *("submit", "slurm", "tiny_sweep", "--sweep", "--array", 2, *settings, "--json"), folder=here
    )
    assert done.returncode == 0, done.stderr
    job = json.loads(done.stdout)["job"]
    assert cluster.wait_for_all(job, ENDED, 20 * MINUTES) == {"COMPLETED"}
    trials = json.loads((here / "runs/tiny_sweep/sweep.json").read_text())["trials"]
    assert sorted(trial["number"] for trial in trials) == [0, 1, 2, 3]
    assert {trial["state"] for trial in trials} <= {"done", "pruned"}
    assert len(list((here / "runs/store").glob("sft-*"))) == 1
