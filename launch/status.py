"""How far a run is, from its files alone: nothing is asked of what writes them. Of a job its scheduler is asked."""

from __future__ import annotations

import fcntl
import json
import socket
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sandwiching.launch import ray_jobs, slurm
from sandwiching.launch.attempts import AttemptRecord, read_attempts
from sandwiching.launch.sweep.trials import Trials
from sandwiching.oversight.expert_store import read_standing
from sandwiching.training.artifacts import MANIFEST
from sandwiching.training.metrics import finite, read_metrics

PLAN_FILE = "plan.json"
RECENT = 5
"""Steps that the speed is taken from."""
WATCH_SECONDS = 2.0
JOB_SECONDS = 30.0
"""Between two questions to a scheduler, which has others to answer."""
COLOURS = {"done": "green", "running": "cyan", "stopped": "yellow", "waiting": "dim"}


@dataclass(frozen=True, slots=True)
class StageStatus:
    """One stage. state: done, running (a process holds its lock), stopped (started, nobody works on it) or waiting."""

    name: str
    stage: str
    state: str
    folder: str | None
    attempt: int
    step: int | None = None
    total: int | None = None
    seconds_per_step: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    look: str | None = None
    """Of a check: what is said of its look in the project's ledger; it begins with INVALID past the budget."""

    @property
    def seconds_left(self) -> float | None:
        """At the present speed."""
        if self.state != "running" or self.step is None or self.total is None or self.seconds_per_step is None:
            return None
        return (self.total - self.step) * self.seconds_per_step


@dataclass(frozen=True, slots=True)
class Jobs:
    """A run's last SLURM and Ray jobs in words (None: it has none), and whether one waits or runs."""

    slurm: str | None = None
    ray: str | None = None
    active: bool = False


@dataclass(frozen=True, slots=True)
class RunStatus:
    """A run's stages in order, its attempts, the last error, its jobs, and what it was given.

    killed: whether the last attempt ended without saying so. resources: in words. trials: of a sweep, how many are in
    which state.
    """

    run_dir: str
    stages: list[StageStatus]
    attempts: list[AttemptRecord]
    slurm: str | None = None
    ray: str | None = None
    job_active: bool = False
    killed: bool = False
    resources: list[str] = field(default_factory=list)
    trials: dict[str, int] = field(default_factory=dict)

    @property
    def last_error(self) -> str | None:
        """Message of the last attempt, if it failed."""
        return self.attempts[-1].message if self.attempts else None

    @property
    def over(self) -> bool:
        """Whether nothing works on the run, or will."""
        ended = not self.attempts or self.attempts[-1].ended is not None or self.killed
        return ended and not self.job_active

    def as_json(self) -> dict[str, Any]:
        """Plain values; a number that is not finite is null."""
        return finite({**asdict(self), "last_error": self.last_error})


def read_jobs(run_dir: Path) -> Jobs:
    """Asks the schedulers that the run was submitted to."""
    one, other = slurm.last_state(run_dir), ray_jobs.last_state(run_dir)
    return Jobs(one and one[0], other and other[0], any(state[1] for state in (one, other) if state))


def read_status(run_dir: Path, jobs: Jobs | None = None) -> RunStatus:
    """Status of the run in `run_dir`; jobs: as they were known a moment ago. Raises ValueError when there is no run."""
    jobs = jobs or read_jobs(run_dir)
    file, attempts = run_dir / PLAN_FILE, read_attempts(run_dir)
    if not file.exists() and not attempts and not (jobs.slurm or jobs.ray):
        raise ValueError(f"{run_dir}: no run was started here; start it with `sandwich run`")
    plan = json.loads(file.read_text()) if file.exists() else {}
    stages = [_stage(stage) for stage in plan.get("stages", [])]
    return RunStatus(
        str(run_dir),
        stages,
        attempts,
        jobs.slurm,
        jobs.ray,
        jobs.active,
        bool(attempts) and _is_killed(attempts[-1], stages, jobs),
        plan.get("placement", []),
        dict(Counter(record.state for record in Trials(run_dir).read())),
    )


def _is_killed(attempt: AttemptRecord, stages: Sequence[StageStatus], jobs: Jobs) -> bool:
    """Whether an attempt that has not said that it ended has: its process is gone, or, elsewhere, its job."""
    if attempt.ended is not None or any(stage.state == "running" for stage in stages):
        return False
    if attempt.host == socket.gethostname():
        return not Path(f"/proc/{attempt.process}").exists()
    return bool(jobs.slurm or jobs.ray) and not jobs.active


def _stage(planned: dict[str, Any]) -> StageStatus:
    name, stage, place = planned["name"], planned["stage"], planned["folder"]
    folder = Path(place) if place else None
    if folder is None or not (folder / "attempt").exists():
        return StageStatus(name, stage, "waiting", place, 0)
    attempt = int((folder / "attempt").read_text())
    records = read_metrics(folder / "metrics.jsonl")
    metrics = {key: value for key, value in records[-1].items() if "/" in key} if records else {}
    state = "done" if (folder / MANIFEST).exists() else "running" if _locked(folder) else "stopped"
    if state == "done":
        metrics = json.loads((folder / MANIFEST).read_text())["metrics"]
    progress = folder / "progress.json"
    reached = json.loads(progress.read_text()) if progress.exists() else {"step": None, "total": None}
    standing = read_standing(folder)
    return StageStatus(
        name,
        stage,
        state,
        place,
        attempt,
        reached["step"],
        reached["total"],
        seconds_per_step(records),
        metrics,
        standing.sentence if standing is not None else None,
    )


def seconds_per_step(records: list[dict[str, Any]]) -> float | None:
    """Mean over the last records of their wall-clock fields."""
    times = [sum(value for key, value in record.items() if key.startswith("time/")) for record in records[-RECENT:]]
    return sum(times) / len(times) if times and any(times) else None


def _locked(folder: Path) -> bool:
    """Whether some process holds the artifact's lock."""
    lock = folder.parent / f".{folder.name}.lock"
    if not lock.exists():
        return False
    with lock.open() as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def show(status: RunStatus, console: Console) -> None:
    """Print a status."""
    console.print(_view(status), soft_wrap=True)


def watch(run_dir: Path, console: Console) -> None:
    """Show a status, again and again, until nothing works on the run or will, or Ctrl-C."""
    asked, jobs = 0.0, Jobs()
    with suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as live:
        while True:
            fresh = not asked or time.monotonic() - asked >= JOB_SECONDS
            if fresh:
                asked, jobs = time.monotonic(), read_jobs(run_dir)
            status = read_status(run_dir, jobs)
            live.update(_view(status), refresh=True)
            if status.over and fresh:
                return
            # A job may be queued again just when its attempt ends: what was known of it before says nothing then.
            asked = 0.0 if status.over else asked
            time.sleep(WATCH_SECONDS)


def _view(status: RunStatus) -> Group:
    parts: list[Table | Text] = [_stages(status.stages)] if status.stages else []
    parts += [
        Text(stage.look, "red" if stage.look.startswith("INVALID") else "") for stage in status.stages if stage.look
    ]
    parts += [Text(job) for job in filter(None, (status.slurm, status.ray))]
    parts += [Text(line) for line in status.resources]
    if status.trials:
        counts = ", ".join(f"{count} {state}" for state, count in status.trials.items())
        parts.append(Text(f"trials: {counts}; each is a run of its own: {status.run_dir}/trials/N"))
    for attempt in status.attempts[-1:]:
        ended = "not ended" if attempt.ended is None else f"ended with exit code {attempt.exit_code}"
        ended = "killed; the same command goes on from the last checkpoint" if status.killed else ended
        started = time.strftime("%Y-%m-%d %H:%M", time.localtime(attempt.started))
        parts.append(Text(f"attempt {attempt.number} on {attempt.host} at {started}: {ended}"))
    if status.last_error:
        parts.append(Text(status.last_error, "red"))
    return Group(*parts)


def _stages(stages: Sequence[StageStatus]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 2))
    for column in ("stage", "state", "attempt", "step", "s/step", "left"):
        table.add_column(column, no_wrap=True)
    table.add_column("last metrics", overflow="fold")
    for stage in stages:
        step = f"{stage.step}/{stage.total}" if stage.step is not None else ""
        speed = f"{stage.seconds_per_step:.2f}" if stage.seconds_per_step else ""
        left = f"{stage.seconds_left:.0f} s" if stage.seconds_left is not None else ""
        metrics = "  ".join(f"{key} {value:.4g}" for key, value in _shown(stage.metrics).items())
        state = Text(stage.state, COLOURS[stage.state])
        table.add_row(stage.name, state, str(stage.attempt or ""), step, speed, left, Text(metrics))
    return table


def _shown(metrics: dict[str, float], limit: int = 6) -> dict[str, float]:
    numbers = {
        key: value for key, value in metrics.items() if isinstance(value, int | float) and not key.startswith("time/")
    }
    return dict(list(numbers.items())[:limit])
