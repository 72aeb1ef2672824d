"""Talks to SLURM through its commands: does a run fit, submit it, what became of it, cancel it.

runs/<name>/slurm.json        the run's jobs, oldest first
runs/<name>/slurm/1.sbatch    what was submitted; 1.yaml, the config it runs; 1.log (of an array: 1-0.log), its output

Nothing needs accounting (sacct): many clusters have none. Where it is, it tells of jobs that SLURM has forgotten.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from sandwiching.training.artifacts import write_atomic

TIMEOUT = 30.0
"""Seconds for a command of SLURM's; without an answer it would try for a minute."""
SAVE_SECONDS = 120
LOOK_SECONDS = 2.0
"""Between two looks at a job that saves."""
LOOK_TIMEOUT = 10.0
"""The same for `sandwich status`, which has more to show."""
ENDED = (
    "COMPLETED",
    "CANCELLED",
    "FAILED",
    "TIMEOUT",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "BOOT_FAIL",
    "DEADLINE",
    "PREEMPTED",
)
"""States that a job does not leave by itself."""


class SlurmError(ValueError):
    """SLURM is not here, does not answer, or refused."""


@dataclass(frozen=True, slots=True)
class SubmittedJob:
    """A job of a run, as slurm.json remembers it.

    save_seconds: what it has to save in when it is cancelled. cluster: of several, the one that has it.
    """

    id: str
    script: str
    log: str
    submitted: float
    save_seconds: int = SAVE_SECONDS
    cluster: str | None = None

    @property
    def there(self) -> list[str]:
        """The option by which commands find its cluster."""
        return [] if self.cluster is None else [f"--clusters={self.cluster}"]

    def __str__(self) -> str:
        return self.id if self.cluster is None else f"{self.id} of cluster {self.cluster}"


@dataclass(frozen=True, slots=True)
class JobState:
    """What SLURM says of a job. `state` is None once it has forgotten it (minutes after the end)."""

    job: SubmittedJob
    state: str | None
    reason: str = ""
    elapsed: str = ""
    nodes: str = ""

    @property
    def active(self) -> bool:
        """Whether it waits or runs."""
        return self.state is not None and self.state not in ENDED

    def __str__(self) -> str:
        if self.state is None:
            said = "ended, and SLURM has forgotten it"
        elif self.state == "PENDING":
            said = f"PENDING ({self.reason})"
        elif self.reason.startswith("exit code"):
            said = f"{self.state} with {self.reason} on {self.nodes} after {self.elapsed}"
        else:
            said = f"{self.state} on {self.nodes} for {self.elapsed}"
        return f"SLURM job {self.job}: {said}; output: {self.job.log}"


def call(*command: str, timeout: float = TIMEOUT) -> str:
    """Standard output of a command of SLURM's. Raises SlurmError when it is missing, silent or says no."""
    name = command[0]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except FileNotFoundError as error:
        raise SlurmError(f"{name} is not installed here: run this on a login node of the cluster") from error
    except subprocess.TimeoutExpired as error:
        raise SlurmError(f"{name}: SLURM did not answer within {timeout:g} s; see `scontrol ping`") from error
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise SlurmError(f"{name} failed: {said or f'exit code {done.returncode}'}")
    return done.stdout


def submit(script: Path, run_dir: Path, log: Path | None = None, save_seconds: int = SAVE_SECONDS) -> SubmittedJob:
    """Submit a script and remember the job in slurm.json. log: its output, if it does not lie beside it."""
    # With --parsable: the id, and ;cluster where one of several was asked for.
    identity, _, cluster = call("sbatch", "--parsable", str(script)).strip().splitlines()[-1].partition(";")
    output = str(log or script.with_suffix(".log"))
    job = SubmittedJob(identity, str(script), output, time.time(), save_seconds, cluster or None)
    jobs = [*read_jobs(run_dir), job]
    write_atomic(run_dir / "slurm.json", json.dumps({"jobs": [asdict(job) for job in jobs]}, indent=1))
    return job


def read_jobs(run_dir: Path) -> list[SubmittedJob]:
    """Jobs of a run, oldest first."""
    file = run_dir / "slurm.json"
    return [SubmittedJob(**job) for job in json.loads(file.read_text())["jobs"]] if file.exists() else []


def state_of(job: SubmittedJob, timeout: float = TIMEOUT) -> JobState:
    """What SLURM says of a job. Raises SlurmError when it says nothing."""
    # Not --json: in 22.05 that lists every job of the cluster, whatever else is asked.
    command = ("squeue", *job.there, "--noheader", "--states=all", f"--jobs={job.id}", "--format=%T|%r|%M|%N")
    try:
        said = call(*command, timeout=timeout).strip()
    except SlurmError as error:
        if "Invalid job id" not in str(error):
            raise
        said = ""
    # An array has a line for each of its tasks: those at work first, then those that wait.
    # With --clusters, a line that names the cluster comes first.
    tasks = sorted((JobState(job, *line.split("|")) for line in said.splitlines() if "|" in line), key=_place)
    return tasks[0] if tasks else JobState(job, None)


def _place(task: JobState) -> int:
    return 0 if task.state == "RUNNING" else 1 if task.active else 2


def last_state(run_dir: Path) -> tuple[str, bool] | None:
    """State of a run's last job in words, or why it cannot be told, and whether it waits or runs.

    None when the run was never submitted.
    """
    jobs = read_jobs(run_dir)
    if not jobs:
        return None
    try:
        state = state_of(jobs[-1], LOOK_TIMEOUT)
        state = accounted(jobs[-1]) or state if state.state is None else state
    except SlurmError as error:
        return f"SLURM job {jobs[-1]}: {error}; output: {jobs[-1].log}", False
    return str(state), state.active


def accounted(job: SubmittedJob) -> JobState | None:
    """What the cluster's accounting says of a job that SLURM itself has forgotten; None where there is none."""
    if shutil.which("sacct") is None:
        return None
    command = ("sacct", *job.there, "--noheader", "--parsable2", "--allocations", f"--jobs={job.id}")
    try:
        said = call(*command, "--format=State,ExitCode,Elapsed,NodeList", timeout=LOOK_TIMEOUT).strip().splitlines()
    except SlurmError:
        return None  # sacct is there, but nothing keeps accounts
    if not said:
        return None
    # As in "CANCELLED by 1000".
    state, code, elapsed, nodes = said[-1].split("|")
    return JobState(job, state.split()[0], f"exit code {code.partition(':')[0]}", elapsed, nodes)


def cancel(run_dir: Path, say: Callable[[str], None]) -> list[str]:
    """End the run's jobs that wait or run, those at work when they have saved; their ids.

    Raises SlurmError when there is none.
    """
    found = [state for job in read_jobs(run_dir) if (state := state_of(job)).active]
    if not found:
        raise SlurmError(f"{run_dir}: no SLURM job of this run waits or runs")
    saving = [state.job for state in found if state.state == "RUNNING"]
    for job in saving:
        say(f"SLURM job {job} is asked to save, and has {job.save_seconds} s for it; Ctrl-C leaves it to that")
        ask_to_save(job)
    for job in saving:
        end = time.monotonic() + job.save_seconds
        while state_of(job).active and time.monotonic() < end:
            time.sleep(LOOK_SECONDS)
    for state in found:
        if state_of(state.job).active:
            call("scancel", *state.job.there, state.job.id)
    return [str(state.job) for state in found]


def ask_to_save(job: SubmittedJob) -> None:
    """Signal the batch script of a job alone: scancel itself would end srun's steps too, and Ray with them."""
    # By this the script knows that it must not be queued again, and SLURM too.
    call("scontrol", *job.there, "update", f"JobId={job.id}", "Requeue=0")
    call("scancel", *job.there, "--state=PENDING", job.id)
    call("scancel", *job.there, "--batch", "--signal=TERM", "--state=RUNNING", job.id)


def refuse_second(run_dir: Path) -> None:
    """Raise SlurmError while a job of this run waits or runs: a second would wait for its locks, devices in hand."""
    for job in read_jobs(run_dir):
        if (state := state_of(job)).active:
            raise SlurmError(f"{run_dir} has a job already: {state}; end it with `sandwich status {run_dir} --cancel`")
