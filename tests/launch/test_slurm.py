"""The thin client of SLURM, against stand-ins for its commands; against a real SLURM in tests/cluster."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sandwiching.configs.load import load
from sandwiching.launch import slurm
from sandwiching.launch.cli import app
from sandwiching.launch.slurm import (
    SlurmError,
    SubmittedJob,
    cancel,
    last_state,
    read_jobs,
    refuse_second,
    state_of,
    submit,
)
from sandwiching.launch.slurm_fit import check_fits, parse_sinfo, partitions_here
from sandwiching.launch.status import read_status

SINFO = """
debug*|up|1-00:00:00|1-infinite|n1|4|gpu:2
gpu|up|infinite|1-2|g1|64|gpu:a100:8(S:0-1),shard:4
gpu|up|infinite|1-2|g2|64|gpu:a100:8(S:0-1),shard:4
gpu|up|infinite|1-2|g3|64+|gpu:a100:4(S:0-1)
debug*|up|1-00:00:00|1-infinite|n2|4|gpu:2
old|down|infinite|1-infinite|o1|64|(null)
"""
EIGHT = ["resources.gpus=8", "resources.learner_ranks=8", "resources.rollout_engines=8", "resources.micro_batch=1"]
TWO = ["resources.nodes=2", "resources.cpus=4"]
FITS = [
    [*TWO, "resources.learner_ranks=2"],
    [*TWO, "resources.learner_ranks=2", "resources.rollout_engines=1", "resources.colocate=false"],
    [*EIGHT, "slurm.partition=gpu", "slurm.time=30-00:00:00"],
    [*EIGHT, "slurm.partition=gpu", "slurm.gres='gpu:a100:8'"],
    [*EIGHT, "slurm.partition='debug,gpu'"],
]
MISFITS = [
    (["resources.nodes=5"], ["resources.nodes=5", "partition debug has 2 nodes (2 with 4 CPUs and gpu:2)"]),
    (["resources.cpus=8"], ["8 CPUs", "4 CPUs and gpu:2"]),
    (["slurm.gres='gpu:h100:1'", "slurm.partition=gpu"], ["gpu:h100:1", "2 with 64 CPUs and gpu:a100:8"]),
    (["slurm.gres='gpu:a100:8'", "resources.nodes=3", "slurm.partition=gpu"], ["resources.nodes=3", "at most 2 a job"]),
    (["slurm.time=1-00:00:01"], ["slurm.time=1-00:00:01", "time up to 1-00:00:00"]),
    (["slurm.partition=old"], ["partition old is down"]),
    (TWO, ["1 ranks of sft of up to 8 cores", "resources.cpus=4 each", "multiples of 2"]),
    (
        [*TWO, "resources.learner_ranks=2", "resources.rollout_engines=3"],
        ["3 bundles of ppo of up to 2.66667 cores", "multiples of 2"],
    ),
    (["slurm.partition=gpus"], ["slurm.partition=gpus", "debug, gpu, old"]),
    (["slurm.partition='debug,old'", "resources.cpus=8"], ["partition debug has", "partition old is down"]),
]


@pytest.mark.parametrize("overrides", FITS)
def test_what_fits(overrides: list[str]) -> None:
    check_fits(load("tiny", overrides), parse_sinfo(SINFO))


@pytest.mark.parametrize(("overrides", "said"), MISFITS)
def test_what_could_never_start_is_refused(overrides: list[str], said: list[str]) -> None:
    with pytest.raises(SlurmError) as error:
        check_fits(load("tiny", overrides), parse_sinfo(SINFO))
    for part in said:
        assert part in str(error.value)


Commands = Callable[..., None]


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Puts bash scripts called like SLURM's commands first on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def put(**texts: str) -> None:
        for name, text in texts.items():
            (folder / name).write_text(f"#!/bin/bash\n{text}\n")
            (folder / name).chmod(0o755)

    return put


def said_of(run_dir: Path) -> str:
    found = last_state(run_dir)
    assert found is not None
    return found[0]


def job_of(run_dir: Path) -> SubmittedJob:
    (run_dir / "slurm").mkdir(parents=True)
    return submit(run_dir / "slurm" / "1.sbatch", run_dir)


def test_jobs_are_remembered(commands: Commands, tmp_path: Path) -> None:
    commands(sbatch="echo sbatch: a note >&2; echo '17;cluster'")
    run_dir = tmp_path / "run"
    job = job_of(run_dir)
    assert (job.id, job.cluster, job.log) == ("17", "cluster", str(run_dir / "slurm" / "1.log"))
    again = submit(run_dir / "slurm" / "2.sbatch", run_dir)
    assert read_jobs(run_dir) == [job, again]


def test_states_in_words(commands: Commands, tmp_path: Path) -> None:
    commands(sbatch="echo 17", squeue="echo 'PENDING|Resources|0:00|'")
    job_of(tmp_path / "run")
    assert "SLURM job 17: PENDING (Resources)" in said_of(tmp_path / "run")
    with pytest.raises(SlurmError, match="has a job already: SLURM job 17"):
        refuse_second(tmp_path / "run")
    commands(squeue="echo 'RUNNING|None|1:02|n[1-2]'")
    assert "RUNNING on n[1-2] for 1:02" in said_of(tmp_path / "run")
    commands(squeue="echo 'COMPLETED|None|9:00|n1'; echo 'PENDING|Resources|0:00|'; echo 'RUNNING|None|0:05|n2'")
    assert "RUNNING on n2 for 0:05" in said_of(tmp_path / "run"), "of an array, the task at work"
    commands(squeue="echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    assert "SLURM has forgotten it" in said_of(tmp_path / "run")
    commands(sacct="echo 'CANCELLED by 1000|75:0|0:09:00|n1'")
    assert "SLURM job 17: CANCELLED with exit code 75 on n1 after 0:09:00" in said_of(tmp_path / "run")
    commands(sacct="echo 'Slurm accounting storage is disabled' >&2; exit 1")
    assert "SLURM has forgotten it" in said_of(tmp_path / "run")
    refuse_second(tmp_path / "run")
    assert last_state(tmp_path / "elsewhere") is None


def test_status_of_a_run_that_waits_in_the_queue(commands: Commands, tmp_path: Path) -> None:
    commands(sbatch="echo 17", squeue="echo 'PENDING|Priority|0:00|'")
    job_of(tmp_path / "run")
    status = read_status(tmp_path / "run")
    assert status.stages == []
    assert "PENDING (Priority)" in status.as_json()["slurm"]


def test_a_job_of_another_cluster_is_asked_for_there(commands: Commands, tmp_path: Path) -> None:
    commands(
        sbatch="echo '17;far'", squeue=f"echo $* >> {tmp_path}/asked; echo 'CLUSTER: far'; echo 'RUNNING|None|1:02|n1'"
    )
    job = job_of(tmp_path / "run")
    assert str(state_of(job)) == f"SLURM job 17 of cluster far: RUNNING on n1 for 1:02; output: {job.log}"
    assert (tmp_path / "asked").read_text().startswith("--clusters=far ")
    commands(sinfo=f"echo $* > {tmp_path}/asked; echo 'CLUSTER: far'; echo 'debug*|up|infinite|1-infinite|n1|4|(null)'")
    assert [one.name for one in partitions_here(["--mem=0", "--clusters=far"])] == ["debug"]
    assert (tmp_path / "asked").read_text().startswith("--clusters=far ")


def test_a_job_at_work_saves_before_it_is_cancelled(commands: Commands, tmp_path: Path) -> None:
    """Its batch script alone gets the signal, when it knows that it must not come back."""
    said: list[str] = []
    save = f'case "$*" in *--signal=TERM*) touch {tmp_path}/saved ;; esac'
    commands(
        sbatch="echo 17",
        squeue=f"if [ -e {tmp_path}/saved ]; then echo 'CANCELLED|None|1:02|n1'; else echo 'RUNNING|None|1:02|n1'; fi",
        scancel=f"echo scancel $* >> {tmp_path}/asked; {save}",
        scontrol=f"echo scontrol $* >> {tmp_path}/asked",
    )
    job_of(tmp_path / "run")
    assert cancel(tmp_path / "run", said.append) == ["17"]
    assert said == ["SLURM job 17 is asked to save, and has 120 s for it; Ctrl-C leaves it to that"]
    assert (tmp_path / "asked").read_text().splitlines() == [
        "scontrol update JobId=17 Requeue=0",
        "scancel --state=PENDING 17",
        "scancel --batch --signal=TERM --state=RUNNING 17",
    ]
    with pytest.raises(SlurmError, match="no SLURM job of this run waits or runs"):
        cancel(tmp_path / "run", said.append)


def test_a_job_that_does_not_save_in_time_or_waits_is_cancelled_as_it_is(commands: Commands, tmp_path: Path) -> None:
    commands(
        sbatch="echo 17",
        squeue="echo 'RUNNING|None|1:02|n1'",
        scancel=f"echo $* >> {tmp_path}/asked",
        scontrol="exit 0",
    )
    (tmp_path / "run/slurm").mkdir(parents=True)
    submit(tmp_path / "run/slurm/1.sbatch", tmp_path / "run", save_seconds=0)
    cancel(tmp_path / "run", print)
    assert (tmp_path / "asked").read_text().splitlines()[-1] == "17"
    (tmp_path / "asked").unlink()
    commands(squeue="echo 'PENDING|Priority|0:00|'")
    cancel(tmp_path / "run", print)
    assert (tmp_path / "asked").read_text() == "17\n"


def test_without_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SlurmError, match="sbatch is not installed here"):
        job_of(tmp_path / "run")
    (tmp_path / "run" / "slurm.json").write_text(
        json.dumps({"jobs": [{"id": "17", "script": "s", "log": "l", "submitted": 0}]})
    )
    assert "squeue is not installed here" in said_of(tmp_path / "run")


def test_a_refusal_and_silence(commands: Commands, tmp_path: Path) -> None:
    commands(sbatch="echo 'sbatch: error: Invalid account' >&2; exit 1")
    with pytest.raises(SlurmError, match="sbatch failed: sbatch: error: Invalid account"):
        job_of(tmp_path / "run")
    commands(squeue="exec sleep 20")
    before = time.monotonic()
    with pytest.raises(SlurmError, match="did not answer within"):
        slurm.call("squeue", timeout=0.2)
    assert time.monotonic() - before < 5


def test_submitting(commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    commands(sinfo="echo 'debug*|up|infinite|1-infinite|n1|4|(null)'", sbatch=f"cp ${{@: -1}} {tmp_path}/sent; echo 17")
    done = CliRunner().invoke(app, ["submit", "slurm", "tiny", "ppo.steps=2"])
    assert done.exit_code == 0, done.output
    assert "job 17" in done.output
    assert "tail -F" in done.output
    folder = tmp_path / "runs/tiny/slurm"
    assert (tmp_path / "sent").read_text() == (folder / "1.sbatch").read_text()
    assert load(folder / "1.yaml") == load("tiny", ["ppo.steps=2"])
    commands(squeue="echo 'COMPLETED|None|1:02|n1'")
    assert CliRunner().invoke(app, ["submit", "slurm", "tiny", "--json"]).exit_code == 0
    assert len(read_jobs(Path("runs/tiny"))) == 2


def test_a_dry_run_needs_no_slurm_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    done = CliRunner().invoke(app, ["submit", "slurm", "tiny", "--dry-run"])
    assert done.exit_code == 0
    assert done.output.startswith("#!/bin/bash\n#SBATCH")
    assert list(tmp_path.iterdir()) == []
