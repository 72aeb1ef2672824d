"""What a fault costs: seconds until training goes on, steps done again, and whether the end is the undisturbed one.

    python benchmarks/faults.py

Each fault meets a PPO stage of the tiny model on Ray (two learner ranks, an engine, scorers), behind the same trained
reward model; then the run is brought to its end, by the same command where it ended. Seconds: from the fault to the
next step that was not recorded before, the start of a new driver (imports, Ray) in them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

SETTINGS = [
    *("reward_model.members=1", "ppo.steps=12", "arms.ceiling=null", "tracking.to=[]"),
    *("resources.checkpoint_every=2", "resources.learner_ranks=2", "resources.cpus=2", "resources.call_timeout=20"),
]
AT = 5
"""Steps that are recorded when the fault comes."""
PATIENCE = 600.0


@dataclass(frozen=True)
class Run:
    """The command in a folder of its own, at work."""

    root: Path
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, root: Path) -> Run:
        """Or go on."""
        command = [str(Path(sys.executable).with_name("sandwich")), "run", "tiny", *SETTINGS, "--only", "ppo"]
        places = ["--run-dir", str(root / "run"), "--store", str(root / "store")]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        quiet = subprocess.DEVNULL
        return cls(root, subprocess.Popen([*command, *places], env=environment, stdout=quiet, stderr=quiet))

    def steps(self) -> list[int]:
        """Recorded in PPO so far."""
        files = list((self.root / "store").glob("ppo-*/metrics.jsonl"))
        lines = files[0].read_text().splitlines(keepends=True) if files else []
        return [json.loads(line)["step"] for line in lines if line.endswith("\n")]

    def worker(self, title: str) -> psutil.Process:
        """One of the run's processes, by what `ps` shows of it."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return next(child for child in children if title in " ".join(child.cmdline()))

    def kill(self) -> None:
        """The driver, with everything it started."""
        for one in [*psutil.Process(self.process.pid).children(recursive=True), psutil.Process(self.process.pid)]:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        self.process.wait()

    def wait(self, reached: Callable[[], bool]) -> None:
        """Until then, or the end of the process. Raises TimeoutError."""
        deadline = time.monotonic() + PATIENCE
        while not reached() and self.process.poll() is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.root}: nothing for {PATIENCE:g} s")
            time.sleep(0.01)


def kill_worker(title: str) -> Callable[[Run], None]:
    """kill -9."""
    return lambda run: run.worker(title).kill()


def stop_worker(title: str) -> Callable[[Run], None]:
    """SIGSTOP: it hangs, and with it every collective."""
    return lambda run: run.worker(title).suspend()


def halve_newest(run: Run) -> None:
    """Kill the driver; the largest file of the newest checkpoint is half as long after."""
    run.kill()
    newest = max(run.root.glob("store/ppo-*/checkpoints/step_*"), key=lambda path: int(path.name[5:]))
    largest = max((file for file in newest.rglob("*") if file.is_file()), key=lambda file: file.stat().st_size)
    os.truncate(largest, largest.stat().st_size // 2)


def send(number: signal.Signals) -> Callable[[Run], None]:
    """A scheduler's signal to the driver."""
    return lambda run: run.process.send_signal(number)


def block_checkpoints(run: Run) -> None:
    """The next checkpoint cannot be written: a file is where its folder should be. Mended when the run has failed."""
    (folder,) = run.root.glob("store/ppo-*/checkpoints")
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.write_text("")
    run.process.wait(PATIENCE)
    folder.unlink()
    aside.rename(folder)


FAULTS: dict[str, Callable[[Run], None]] = {
    "kill -9 of a rollout engine": kill_worker("EngineActor"),
    "kill -9 of a scorer": kill_worker("ScorerActor"),
    "kill -9 of a learner's rank": kill_worker("LearnerActor"),
    "SIGSTOP of a learner's rank (call_timeout 20 s)": stop_worker("LearnerActor"),
    "SIGTERM to the driver": send(signal.SIGTERM),
    "SIGUSR1 to the driver": send(signal.SIGUSR1),
    "kill -9 of the driver and all it started": Run.kill,
    "the same, and the newest checkpoint cut in half": halve_newest,
    "no checkpoint can be written": block_checkpoints,
}


def weights(root: Path) -> bytes:
    """Of the exported policy."""
    (file,) = root.glob("store/ppo-*/model/model.safetensors")
    return file.read_bytes()


def measure(root: Path, fault: Callable[[Run], None]) -> tuple[float, int, int]:
    """(seconds until a new step, steps done again, starts of the command) of one fault; the run is at its end after."""
    run, starts = Run.start(root), 1
    run.wait(lambda: len(run.steps()) >= AT)
    before, began = max(run.steps()), time.monotonic()
    fault(run)
    lowest, recovered = before, None
    while True:
        steps = run.steps()
        # A resume cuts the records back to its checkpoint.
        lowest = min(lowest, max(steps, default=0))
        if recovered is None and max(steps, default=0) > before:
            recovered = time.monotonic() - began
        code = run.process.poll()
        if code == 0:
            break
        if code is not None:
            run, starts = Run.start(root), starts + 1
        if time.monotonic() - began > PATIENCE:
            raise TimeoutError(f"{root}: no end")
        time.sleep(0.01)
    return (time.monotonic() - began if recovered is None else recovered), before - lowest, starts


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(FAULTS), default=list(FAULTS))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        right = Path(scratch) / "right"
        run = Run.start(right)
        run.wait(lambda: False)
        assert run.process.returncode == 0, f"the undisturbed run failed: {right}"
        print("| fault | same command again | seconds to go on | steps lost | equal weights |\n|---|---|---|---|---|")
        for name in arguments.only:
            root = Path(scratch) / "disturbed"
            shutil.copytree(right / "store", root / "store", ignore=shutil.ignore_patterns("ppo-*", ".ppo-*", "ray"))
            seconds, lost, starts = measure(root, FAULTS[name])
            same = "yes" if weights(root) == weights(right) else "**no**"
            print(f"| {name} | {'no' if starts == 1 else 'yes'} | {seconds:.1f} | {lost} | {same} |", flush=True)
            shutil.rmtree(root)


if __name__ == "__main__":
    main()
