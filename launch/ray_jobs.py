"""Runs as jobs of a Ray cluster: submit one, follow it, what became of it, end it.

runs/<name>/ray.json     the run's jobs, oldest first
runs/<name>/ray/1.yaml   the config that the first one runs, and the folder it runs in: nothing in it can be imported

Ray is imported only to ask a cluster something.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sandwiching.configs.schema import Config
from sandwiching.launch.failures import ExitCode
from sandwiching.training.artifacts import write_atomic

TIMEOUT = 30.0
"""Seconds for an answer of the job server."""
LOOK_TIMEOUT = 5.0
"""The same for `sandwich status`, which has more to show."""
ENDED = ("STOPPED", "SUCCEEDED", "FAILED")
WIDTH = "140"
"""Columns of the job's output, which is no terminal."""


@dataclass(frozen=True, slots=True)
class RayJob:
    """A job of a run, as ray.json remembers it. `address` is the job server's."""

    id: str
    address: str
    config: str
    submitted: float


@dataclass(frozen=True, slots=True)
class RayJobState:
    """What the cluster says of a job. `state` is None when it knows of none: it was started anew since."""

    job: RayJob
    state: str | None
    message: str = ""
    exit_code: int | None = None

    @property
    def active(self) -> bool:
        """Whether it waits or runs."""
        return self.state is not None and self.state not in ENDED

    def __str__(self) -> str:
        if self.state is None:
            said = "unknown there: the cluster was started anew, and the job ended with the old one"
        elif self.state == "PENDING":
            said = f"PENDING ({self.message})"
        elif self.exit_code:
            said = f"{self.state} with exit code {self.exit_code}"
        else:
            said = self.state
        return f"Ray job {self.job.id} at {self.job.address}: {said}"


def entrypoint(config: Path, run_dir: Path, store: Path, words: Sequence[str] = ("run",)) -> str:
    """The job's command line: `sandwich WORDS CONFIG`, by exec: Ray's SIGTERM reaches it; in an empty folder.

    Ray puts the driver's working directory on the path of every worker: a checkout's folders would be importable there.
    """
    # Not resolved: a virtual environment's python is a link.
    sandwich = Path(sys.executable).parent / "sandwich"
    run = [str(sandwich), *words, str(config), "--run-dir", str(run_dir), "--store", str(store)]
    return f"cd {shlex.quote(str(config.parent))} && exec {shlex.join(run)}"


def submit(
    config: Config, text: str, run_dir: Path, store: Path, address: str | None, words: Sequence[str] = ("run",)
) -> RayJob:
    """Submit a run and remember the job in ray.json. `text` is the resolved config with absolute paths.

    Raises RayJobError.
    """
    from sandwiching.launch.ray_client import JobServer

    server = JobServer(address, TIMEOUT)
    file = next_config(run_dir)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, text)
    variables = {"RAY_JOB_STOP_WAIT_TIME_S": str(config.ray.stop_seconds), "COLUMNS": WIDTH}
    name = f"{config.name}-{secrets.token_hex(4)}"
    identity = server.submit(entrypoint(file, run_dir, store, words), name, variables, config.ray.driver_cpus)
    job = RayJob(identity, server.address, str(file), time.time())
    jobs = [*read_jobs(run_dir), job]
    write_atomic(run_dir / "ray.json", json.dumps({"jobs": [asdict(job) for job in jobs]}, indent=1))
    return job


def next_config(run_dir: Path) -> Path:
    """runs/<name>/ray/N.yaml for the next N."""
    numbers = [int(file.stem) for file in (run_dir / "ray").glob("*.yaml")]
    return run_dir / "ray" / f"{max(numbers, default=0) + 1}.yaml"


def follow(job: RayJob, write: Callable[[str], None]) -> RayJobState:
    """Hand on the job's output until it has ended; its state then. Raises RayJobError when the cluster is gone."""
    from sandwiching.launch.ray_client import JobServer

    asyncio.run(JobServer(job.address, TIMEOUT).follow(job.id, write))
    # The output may end a moment before the job is said to have ended.
    end = time.monotonic() + TIMEOUT
    while (state := state_of(job)).active and time.monotonic() < end:
        time.sleep(0.2)
    return state


def exit_code(state: RayJobState) -> int:
    """The driver's own; 75 of a job that was cancelled, which saved."""
    if state.state == "SUCCEEDED":
        return ExitCode.DONE
    if state.state == "STOPPED":
        return ExitCode.REQUEUE
    return state.exit_code or ExitCode.FAILED


def read_jobs(run_dir: Path) -> list[RayJob]:
    """Jobs of a run, oldest first."""
    file = run_dir / "ray.json"
    return [RayJob(**job) for job in json.loads(file.read_text())["jobs"]] if file.exists() else []


def state_of(job: RayJob, seconds: float = TIMEOUT) -> RayJobState:
    """What the cluster says of a job. Raises RayJobError when it says nothing."""
    from sandwiching.launch.ray_client import JobServer, UnknownJob

    try:
        return RayJobState(job, *JobServer(job.address, seconds).look(job.id))
    except UnknownJob:
        return RayJobState(job, None)


def last_state(run_dir: Path) -> tuple[str, bool] | None:
    """State of a run's last job in words, or why it cannot be told, and whether it waits or runs.

    None when the run was never submitted.
    """
    jobs = read_jobs(run_dir)
    if not jobs:
        return None
    try:
        state = state_of(jobs[-1], LOOK_TIMEOUT)
    except ValueError as error:
        return f"Ray job {jobs[-1].id}: {error}", False
    return str(state), state.active


def cancel(run_dir: Path) -> list[str]:
    """Ask the run's jobs that wait or run to save and end; their ids. Raises RayJobError when there is none."""
    from sandwiching.launch.ray_client import JobServer, RayJobError

    found, unknown = [], list[RayJobError]()
    for job in read_jobs(run_dir):
        try:
            found += [job] if state_of(job).active else []
        except RayJobError as error:
            unknown.append(error)  # an old cluster may be gone
    if not found:
        raise unknown[-1] if unknown else RayJobError(f"{run_dir}: no Ray job of this run waits or runs")
    for job in found:
        JobServer(job.address, TIMEOUT).stop(job.id)
    return [job.id for job in found]


def refuse_second(run_dir: Path) -> None:
    """Raise RayJobError while a job of this run waits or runs: a second would wait for its locks, devices in hand.

    Where nothing listens at a cluster's address its jobs have ended with it; one that cannot be asked is refused too.
    """
    for job in read_jobs(run_dir):
        from sandwiching.launch.ray_client import NoServer, RayJobError

        try:
            state = state_of(job, LOOK_TIMEOUT)
        except NoServer:
            continue
        except RayJobError as error:
            raise RayJobError(f"whether job {job.id} of {run_dir} still runs cannot be told: {error}") from error
        if state.active:
            raise RayJobError(
                f"{run_dir} has a job already: {state}; end it with `sandwich status {shlex.quote(str(run_dir))} "
                "--cancel`"
            )
