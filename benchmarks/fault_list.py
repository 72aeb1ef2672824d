"""The faults, each by the hand that brings it about."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil
from fault_worlds import PATIENCE, RayNodes, Run, Slurm

LOAD_SECONDS = 0.5


@dataclass(frozen=True)
class Fault:
    """strike: does it, to a run at work in its world, and mends what has to be mended before the run can go on."""

    name: str
    world: str
    strike: Callable[[Any, Run], None]
    steps: int = 12
    """Of PPO. What comes only some time after its cause needs a longer run."""


def kill_worker(title: str) -> Callable[[Any, Run], None]:
    """kill -9 of the process that `ps` shows by this title."""
    return lambda world, run: worker(run, title).kill()


def stop_worker(title: str) -> Callable[[Any, Run], None]:
    """SIGSTOP: it hangs, and with it every collective."""
    return lambda world, run: worker(run, title).suspend()


def worker(run: Run, title: str) -> psutil.Process:
    """One of the run's processes."""
    return next(one for one in run.processes() if title in " ".join(one.cmdline()))


def send(number: signal.Signals) -> Callable[[Any, Run], None]:
    """A scheduler's signal to the driver."""
    return lambda world, run: run.processes()[0].send_signal(number)


def kill(world: Any, run: Run) -> None:
    """The driver, with everything it started."""
    run.end()


def halve_newest(world: Any, run: Run) -> None:
    """Kill the driver; the largest file of the newest checkpoint is half as long after."""
    run.end()
    newest = max(run.root.glob("store/ppo-*/checkpoints/step_*"), key=lambda path: int(path.name[5:]))
    largest = max((file for file in newest.rglob("*") if file.is_file()), key=lambda file: file.stat().st_size)
    os.truncate(largest, largest.stat().st_size // 2)


def poison_rewards(world: Any, run: Run) -> None:
    """Scores that are not numbers: the reward model's head is spoilt for one start of the command."""
    run.end()
    (folder,) = run.root.glob("store/reward_model-*")
    file, manifest = folder / "model/model.safetensors", folder / "manifest.json"
    right = file.read_bytes(), manifest.read_text()
    file.write_bytes(spoilt(right[0]))
    digests = [hashlib.sha256(content).hexdigest() for content in (right[0], file.read_bytes())]
    manifest.write_text(right[1].replace(digests[0], digests[1]))
    again = world.start(run.root, ["ppo.steps=12"])
    code, said = again.wait_for_end(), (run.root / "log").read_text()[-500:]
    assert code == 1, f"exit code {code} of a run whose rewards are no numbers: {said}"
    assert "diverged" in said, said
    file.write_bytes(right[0])
    manifest.write_text(right[1])


def spoilt(content: bytes) -> bytes:
    """A safetensors file with every bit of its head set, which is NaN in every precision."""
    start = 8 + int.from_bytes(content[:8], "little")
    (head,) = (one for name, one in json.loads(content[8:start]).items() if "score" in name)
    first, last = (start + offset for offset in head["data_offsets"])
    return content[:first] + b"\xff" * (last - first) + content[last:]


def fill_disk(world: Any, run: Run) -> None:
    """Not a byte is free until the run has failed."""
    ballast = world.folder / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    code = run.wait_for_end()
    assert code == 1, f"exit code {code} of a run on a full disk"
    ballast.unlink()


def forbid_writing(world: Any, run: Run) -> None:
    """The folder of checkpoints is a read-only file system until the run has failed."""
    (folder,) = run.root.glob("store/ppo-*/checkpoints")
    for options in (["--bind", folder], ["-o", "remount,bind,ro"]):
        subprocess.run(["mount", *options, folder], check=True)
    code = run.wait_for_end()
    assert code == 1, f"exit code {code} of a run that cannot write a checkpoint"
    subprocess.run(["umount", folder], check=True)


def kill_node(world: RayNodes, run: Run) -> None:
    """kill -9 of a node's raylet."""
    assert world.nodes is not None
    world.nodes.kill_node()


def kill_head(world: RayNodes, run: Run) -> None:
    """kill -9 of the GCS; another cluster is started when the driver has ended."""
    assert world.nodes is not None
    world.nodes.kill_head()
    run.wait_for_end()
    world.renew()


def kill_drivers_node(world: RayNodes, run: Run) -> None:
    """kill -9 of the raylet that the driver is joined to; another cluster is started when the driver has ended."""
    assert world.nodes is not None
    world.nodes.kill_drivers_node()
    run.wait_for_end()
    world.renew()


def preempt(world: Slurm, run: Run) -> None:
    """A job of a higher partition takes both nodes."""
    world.cluster.preempt(3)


def end_of_time(world: Slurm, run: Run) -> None:
    """SLURM warns it signal_seconds before, and it is queued again."""
    world.cluster.run_out_of_time(run.job, run.root / "run/slurm/1.log", PATIENCE)


def fail_node(world: Slurm, run: Run) -> None:
    """One node is DOWN, until SLURM has taken the job off it."""
    node = world.cluster.run("squeue", "--noheader", f"--jobs={run.job}", "--format=%B").stdout.strip()
    done = world.cluster.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    assert done.returncode == 0, done.stderr
    end = time.monotonic() + PATIENCE
    while world.cluster.state(run.job) == "RUNNING" and time.monotonic() < end:
        time.sleep(LOAD_SECONDS)
    world.cluster.run("scontrol", "update", f"NodeName={node}", "State=RESUME")


def cancel(world: Slurm, run: Run) -> None:
    """scancel, by way of `sandwich status --cancel`."""
    done = world.cluster.sandwich("status", str(run.root / "run"), "--cancel", folder=run.root)
    assert done.returncode == 0, done.stderr
    run.wait_for_end()


FAULTS = (
    Fault("kill -9 of a rollout engine", "host", kill_worker("EngineActor")),
    Fault("kill -9 of a scorer", "host", kill_worker("ScorerActor")),
    Fault("kill -9 of a learner's rank", "host", kill_worker("LearnerActor")),
    Fault("SIGSTOP of a learner's rank (call_timeout 20 s)", "host", stop_worker("LearnerActor")),
    Fault("SIGTERM to the driver", "host", send(signal.SIGTERM)),
    Fault("SIGUSR1 to the driver", "host", send(signal.SIGUSR1)),
    Fault("kill -9 of the driver and all it started", "host", kill),
    Fault("the same, and the newest checkpoint cut in half", "host", halve_newest),
    Fault("the same, and rewards that are not numbers at the next start", "host", poison_rewards),
    Fault("a full disk", "disk", fill_disk),
    Fault("checkpoints on a read-only file system", "disk", forbid_writing),
    Fault("kill -9 of a raylet", "ray", kill_node),
    Fault("kill -9 of the raylet of the driver's node", "ray", kill_drivers_node),
    Fault("kill -9 of the Ray head", "ray", kill_head),
    Fault("SLURM: preempted by a higher partition", "slurm", preempt),
    Fault("SLURM: time limit", "slurm", end_of_time, steps=120),
    Fault("SLURM: a node is set DOWN (NODE_FAIL)", "slurm", fail_node),
    Fault("SLURM: scancel (`sandwich status --cancel`)", "slurm", cancel),
)
