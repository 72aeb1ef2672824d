"""A run's jobs, whichever scheduler has them. Neither is asked of a run that was never submitted to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sandwiching.launch import ray_jobs, slurm


def refuse_second(run_dir: Path) -> None:
    """Raise ValueError while a job of this run waits or runs anywhere."""
    slurm.refuse_second(run_dir)
    ray_jobs.refuse_second(run_dir)


def cancel(run_dir: Path, say: Callable[[str], None]) -> list[str]:
    """End the run's jobs, which save first; what was asked to end, in words. Raises ValueError when nothing was.

    say: told what is waited for.
    """
    last = {"SLURM": slurm.read_jobs(run_dir), "Ray": ray_jobs.read_jobs(run_dir)}
    if not any(last.values()):
        raise ValueError(f"{run_dir}: this run was submitted nowhere; end it with Ctrl-C where it runs")
    newest = max((name for name, jobs in last.items() if jobs), key=lambda name: last[name][-1].submitted)
    ids = slurm.cancel(run_dir, say) if newest == "SLURM" else ray_jobs.cancel(run_dir)
    return [f"{newest} job {job}" for job in ids]
