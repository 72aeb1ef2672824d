"""A process of its own for what scores: started with a job's file, watched, ended with the stage."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from sandwiching.oversight.monitors.job import Job
from sandwiching.training.artifacts import StageFolder

MODULE = "sandwiching.oversight.monitors.process"
PROGRESS = "scored"
POLL_SECONDS = 0.2
LOG_LINES = 20


def result_name(run: str) -> str:
    """File of a run's scores."""
    return f"scores-{run.replace('/', '-')}.json"


def run_job(job: Job, folder: StageFolder) -> dict[str, dict[str, Any]]:
    """Scores by run, made in the folder's cache by a process that this one starts and waits for; runs that an earlier
    attempt scored are not scored again.

    Raises RuntimeError with the end of its messages when it fails, and Stopped when the folder asks for it.
    """
    out = folder.cache
    out.mkdir(parents=True, exist_ok=True)
    folder.check_attempt()
    job = replace(job, out=str(out))
    job.write(out / "job.json")
    # -P: what lies in the present folder is no module.
    command = [sys.executable, "-P", "-m", MODULE, str(out / "job.json")]
    with (out / "log.txt").open("w") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True)
        try:
            while process.poll() is None:
                _report(out, folder, len(job.runs))
                folder.stop_if_asked()
                time.sleep(POLL_SECONDS)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
    if process.returncode:
        said = "\n".join((out / "log.txt").read_text().splitlines()[-LOG_LINES:])
        raise RuntimeError(f"the process that scores ended with {process.returncode}; it said last:\n{said}")
    return {run.name: json.loads((out / result_name(run.name)).read_text()) for run, _ in job.runs}


def _report(out: Path, folder: StageFolder, total: int) -> None:
    file = out / PROGRESS
    if file.exists():
        folder.report(int(file.read_text()), total)
