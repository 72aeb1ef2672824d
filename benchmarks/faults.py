"""What a fault costs: seconds until training goes on, steps done again, and whether the end is the undisturbed one.

    python benchmarks/faults.py                       # all: ten minutes and more; root, SLURM and munge for some
    python benchmarks/faults.py --worlds host ray

Each fault meets a PPO stage of the tiny model (two learner ranks, engines, scorers), behind the same trained reward
model; then the run is brought to its end, by the same command where it ended. Seconds: from the fault to the next step
that was not recorded before; in them the start of a new driver (imports, Ray), and what SLURM waits before it starts a
job again. Exits with 1 when a run did not come to the undisturbed run's weights, snapshots and metrics.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import fault_worlds
from fault_list import FAULTS, Fault
from fault_worlds import PATIENCE, Host

from sandwiching.training.metrics import read_metrics

WORLDS: dict[str, Callable[[Path], AbstractContextManager[Host | fault_worlds.Slurm]]] = {
    "host": fault_worlds.host,
    "disk": fault_worlds.small_disk,
    "ray": fault_worlds.ray_nodes,
    "slurm": fault_worlds.slurm,
}
AT = 5
"""Steps that are recorded when the fault comes."""


OWN = ("time/", "ppo/engine_restarts")
"""Metrics that may differ."""


def results(root: Path) -> dict[str, object]:
    """By file: weights of the exported policy and of snapshots, rollouts of snapshots, and metrics of each step."""
    (artifact,) = (file.parent for file in root.glob("store/ppo-*/manifest.json"))
    found: dict[str, object] = {
        "metrics.jsonl": [
            {name: value for name, value in record.items() if not name.startswith(OWN)}
            for record in read_metrics(artifact / "metrics.jsonl")
        ]
    }
    for file in sorted([*artifact.glob("model/*.safetensors"), *artifact.glob("snapshots/*/*")]):
        content = file.read_bytes()
        found[str(file.relative_to(artifact))] = gzip.decompress(content) if file.suffix == ".gz" else content
    return found


def differing(root: Path, right: Path) -> list[str]:
    """Files of `results` in which two runs differ."""
    one, other = results(root), results(right)
    return [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]


def undisturbed(folder: Path, steps: int) -> Path:
    """The folder of a run that nothing happened to."""
    root = folder / f"right-{steps}"
    if not root.exists():
        for other in folder.glob("right-*/store"):
            shutil.copytree(other, root / "store", ignore=shutil.ignore_patterns("ppo-*", ".ppo-*", "ray"))
        root.mkdir(exist_ok=True)
        run = Host(folder).start(root, [f"ppo.steps={steps}"])
        try:
            code = run.wait_for_end()
        finally:
            run.end()
        assert code == 0, f"the undisturbed run failed: {(root / 'log').read_text()}"
    return root


def measure(world: Host | fault_worlds.Slurm, root: Path, fault: Fault) -> tuple[float, int, int]:
    """(seconds until a new step, steps done again, starts of the command) of one fault; the run is at its end after."""
    settings = [f"ppo.steps={fault.steps}"]
    run, starts = world.start(root, settings), 1
    try:
        run.wait(lambda: len(run.steps()) >= AT)
        if run.code() is not None:
            raise RuntimeError(f"{root}: ended before the fault came; {(root / 'log').read_text()}")
        attempts, before, began = run.attempts(), max(run.steps()), time.monotonic()
        fault.strike(world, run)
        lowest, recovered = before, None
        while (code := run.code()) != 0:
            if code is not None:
                run, starts = world.start(root, settings), starts + 1
            last = max(run.steps(), default=0)
            if run.attempts() > attempts:
                # Another driver: what the first one still recorded while it ended is no recovery.
                attempts, recovered = run.attempts(), None
                before = lowest = max(before, last)
            # A resume cuts the records back to its checkpoint.
            lowest = min(lowest, last)
            if recovered is None and last > before:
                recovered = time.monotonic() - began
            if time.monotonic() - began > PATIENCE:
                raise TimeoutError(f"{root}: no end; {(root / 'log').read_text()}")
            time.sleep(0.01)
    finally:
        run.end()
    return (time.monotonic() - began if recovered is None else recovered), before - lowest, starts


def row(world: Host | fault_worlds.Slurm, fault: Fault, right: Path) -> tuple[str, bool]:
    """A line of the table, and whether all results are those of the undisturbed run."""
    root = world.folder / "disturbed"
    shutil.copytree(right / "store", root / "store", ignore=shutil.ignore_patterns("ppo-*", ".ppo-*", "ray"))
    seconds, lost, starts = measure(world, root, fault)
    different = differing(root, right)
    shutil.rmtree(root)
    again = "no" if starts == 1 else "yes"
    same = f"**no**: {', '.join(different)}" if different else "yes"
    return f"| {fault.name} | {again} | {seconds:.1f} | {lost} | {same} |", not different


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", nargs="+", choices=list(WORLDS), default=list(WORLDS))
    parser.add_argument("--only", nargs="+", choices=[fault.name for fault in FAULTS], metavar="FAULT")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # nothing stays mounted or at work
    wanted = defaultdict(list)
    for fault in FAULTS:
        if fault.world in arguments.worlds and (arguments.only is None or fault.name in arguments.only):
            wanted[fault.world].append(fault)
    print("| fault | same command again | seconds to go on | steps lost | same bits |\n|---|---|---|---|---|")
    equal = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, faults in wanted.items():
            with WORLDS[name](Path(scratch) / name) as world:
                for fault in faults:
                    line, same = row(world, fault, undisturbed(Path(scratch), fault.steps))
                    print(line, flush=True)
                    equal.append(same)
    print(f"{sum(equal)} of {len(equal)} faults changed no result")
    sys.exit(not all(equal))


if __name__ == "__main__":
    main()
