"""The sbatch text in a real SLURM, with lines of bash in `sandwich`'s place: exit codes and signals in seconds."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sandwiching.launch.slurm import SubmittedJob, ask_to_save

pytestmark = pytest.mark.cluster

ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"}
SAVES = "trap 'echo saved; exit 75' USR1 TERM; for i in {1..600}; do sleep 0.2; done"
"""Runs for two minutes unless a signal comes."""
ONCE = f'if [ -n "${{SLURM_RESTART_COUNT:-}}" ]; then echo second start; exit 0; fi; echo first start; {SAVES}'


@pytest.mark.parametrize(("code", "state"), [(0, "COMPLETED"), (1, "FAILED"), (2, "FAILED"), (3, "FAILED")])
def test_the_drivers_exit_code_is_the_jobs(cluster: Any, tmp_path: Path, code: int, state: str) -> None:
    job = cluster.start(tmp_path, f"echo at work; exit {code}")
    assert cluster.wait(job, ENDED, 60) == state
    assert f"ExitCode={code}:0" in cluster.run("scontrol", "show", "job", job).stdout


def test_before_the_time_limit_it_saves_and_is_queued_again(cluster: Any, tmp_path: Path) -> None:
    job = cluster.start(tmp_path, ONCE, "slurm.time='00:02:00'", "slurm.signal_seconds=110")
    assert cluster.wait(job, ENDED, 120) == "COMPLETED"
    lines = (tmp_path / "1.log").read_text()
    places = [lines.index(words) for words in ("first start", "SIGUSR1", "saved", "queued again", "second start")]
    assert places == sorted(places)


def test_a_signal_before_the_driver_listens_queues_again_too(cluster: Any, tmp_path: Path) -> None:
    deaf = 'if [ -n "${SLURM_RESTART_COUNT:-}" ]; then exit 0; fi; echo first start; exec sleep 60'
    job = cluster.start(tmp_path, deaf)
    cluster.says(tmp_path, "first start")
    cluster.run("scancel", "--batch", "--signal=USR1", job)
    assert cluster.wait(job, ENDED, 60) == "COMPLETED"
    assert "start 2" in (tmp_path / "1.log").read_text()


def test_a_driver_that_has_not_saved_in_time_is_ended_and_queued_again(cluster: Any, tmp_path: Path) -> None:
    """In time is a second here: SLURM requeues no job whose time is over."""
    deaf = "trap '' USR1 TERM; for i in {1..600}; do sleep 0.2; done"
    once = f'if [ -n "${{SLURM_RESTART_COUNT:-}}" ]; then echo second start; exit 0; fi; echo first start; {deaf}'
    job = cluster.start(tmp_path, once, "slurm.signal_seconds=31")
    cluster.says(tmp_path, "first start")
    cluster.run("scancel", "--batch", "--signal=USR1", job)
    assert cluster.wait(job, ENDED, 90) == "COMPLETED"
    lines = (tmp_path / "1.log").read_text()
    places = [lines.index(words) for words in ("SIGUSR1", "not saved 1 s after", "queued again", "second start")]
    assert places == sorted(places)


def test_a_job_that_we_cancel_saves_with_its_nodes_and_does_not_come_back(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", str(cluster.root / "slurm.conf"))
    look = "import ray; ray.init(); print('saved beside', sum(node['Alive'] for node in ray.nodes()), 'nodes')"
    save = f'save() {{ {sys.executable} -c "{look}"; exit 75; }}; trap save TERM'
    job = cluster.start(tmp_path, f"{save}; echo at work; for i in {{1..600}}; do sleep 0.2; done", *TWO)
    cluster.says(tmp_path, "at work", 120)
    ask_to_save(SubmittedJob(job, "", "", 0.0))
    assert cluster.wait(job, ENDED, 90) == "CANCELLED"
    said = (tmp_path / "1.log").read_text()
    assert said.index("saved beside 2 nodes") < said.index("cancelled, and not queued again")


def test_a_cancelled_job_does_not_come_back(cluster: Any, tmp_path: Path) -> None:
    job = cluster.start(tmp_path, SAVES)
    cluster.says(tmp_path, "start 1")
    cluster.wait_for(lambda: cluster.state(job) == "RUNNING" and "yes", 30, "a running job")
    time.sleep(1)
    cluster.run("scancel", job)
    cluster.says(tmp_path, "saved")
    assert cluster.wait(job, ENDED, 60) == "CANCELLED"
    time.sleep(8)  # A requeued job waits for five seconds.
    assert cluster.state(job) == "CANCELLED"


def test_what_the_site_needs_arrives(cluster: Any, tmp_path: Path) -> None:
    scratch = tmp_path / "local disk"
    settings = {
        "account": "lab",
        "partition": "debug",
        "qos": "normal",
        "constraint": "fast",
        "gres": "'gpu:1'",
        "extra": "[--mem=100]",
        "prologue": '"export SITE=prologue\\nexport EXTRA=line"',
        "scratch": str(scratch),
        "offline": "true",
    }
    driver = 'echo "$SITE $EXTRA $TMPDIR $HF_HUB_OFFLINE $CUDA_VISIBLE_DEVICES"; touch "$TMPDIR/x"'
    job = cluster.start(tmp_path, driver, *(f"slurm.{name}={value}" for name, value in settings.items()))
    assert cluster.wait(job, ENDED, 60) == "COMPLETED"
    assert f"prologue line {scratch}/sandwich-" in (tmp_path / "1.log").read_text()
    assert ".tmp 1 0" in (tmp_path / "1.log").read_text()
    assert list(scratch.iterdir()) == []
    shown = cluster.run("scontrol", "show", "job", job).stdout
    for part in ("Account=lab", "Partition=debug", "Features=fast", "TresPerNode=gres:gpu:1", "MinMemoryNode=100M"):
        assert part in shown


TWO = ["resources.nodes=2", "resources.cpus=1"]
TWO_GPUS = ["resources.gpus=2", "resources.learner_ranks=2", "resources.rollout_engines=2"]
WHO_IS_THERE = f"""
{sys.executable} - <<'END'
import os, ray
ray.init()
@ray.remote(num_gpus=1)
def place():
    return os.environ["SLURMD_NODENAME"], os.environ["CUDA_VISIBLE_DEVICES"]
print("places", sorted(ray.get([place.options(scheduling_strategy="SPREAD").remote() for _ in range(2)])))
print("CPUs", ray.cluster_resources()["CPU"], "GPUs", ray.cluster_resources()["GPU"])
END
"""


def test_two_nodes_and_a_preemption_without_usr1(cluster: Any, tmp_path: Path) -> None:
    """Such a preemption ends the steps, and with them Ray; the driver fails."""
    work = 'if [ -n "${SLURM_RESTART_COUNT:-}" ]; then exit 0; fi; until [ -e lost ]; do sleep 0.2; done; exit 1'
    job = cluster.start(tmp_path, WHO_IS_THERE + work, *TWO, *TWO_GPUS)
    cluster.says(tmp_path, "CPUs", 120)
    said = (tmp_path / "1.log").read_text()
    assert "Ray: 2 of 2 nodes" in said
    assert "places [('n1', '0'), ('n2', '0')]" in said
    assert "CPUs 2.0 GPUs 2.0" in said
    cluster.set_user_signal(False)
    try:
        other = cluster.preempt(3)
        log = tmp_path / "1.ray-workers.log"
        cluster.wait_for(lambda: "yes" if "CANCELLED" in log.read_text() else None, 60, "the end of Ray")
        (tmp_path / "lost").touch()
        assert cluster.wait(other, ENDED, 60) == "COMPLETED"
        assert cluster.wait(job, ENDED, 120) == "COMPLETED"
    finally:
        cluster.set_user_signal(True)
    said = (tmp_path / "1.log").read_text()
    assert "SIG" not in said
    assert said.count("Ray: 2 of 2 nodes") == 2


def test_ray_that_does_not_start_fails_the_job(cluster: Any, tmp_path: Path) -> None:
    broken = f'case "$*" in *--address*) echo no such file; exit 1 ;; esac; exec {sys.executable} "$@"'
    job = cluster.start(tmp_path, "echo never", *TWO, python=broken)
    assert cluster.wait(job, ENDED, 60) == "FAILED"
    said = (tmp_path / "1.log").read_text()
    assert f"see {tmp_path}/1.ray-head.log and {tmp_path}/1.ray-workers.log" in said
    assert "never" not in said
    assert "no such file" in (tmp_path / "1.ray-workers.log").read_text()


def test_a_job_is_not_queued_again_for_ever(cluster: Any, tmp_path: Path) -> None:
    job = cluster.start(tmp_path, "echo at work; exit 75", "slurm.most_restarts=1")
    assert cluster.wait(job, ENDED, 60) == "FAILED"
    lines = (tmp_path / "1.log").read_text()
    assert lines.count("at work") == 2
    assert "not queued again: 1 restarts were allowed" in lines


def test_a_node_that_fails_has_the_job_start_again_elsewhere(cluster: Any, tmp_path: Path) -> None:
    job = cluster.start(tmp_path, ONCE)
    cluster.says(tmp_path, "first start")
    node = cluster.run("squeue", "--noheader", f"--jobs={job}", "--format=%N").stdout.strip()
    assert cluster.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test").returncode == 0
    try:
        assert cluster.wait(job, ENDED - {"NODE_FAIL"}, 60) == "COMPLETED"
    finally:
        cluster.run("scontrol", "update", f"NodeName={node}", "State=RESUME")
    assert "second start" in (tmp_path / "1.log").read_text()
