"""Where a run meets a fault: on this host, on a small disk, on a Ray cluster of three nodes, as a job of SLURM.

A world starts the command in a folder, and again where it ended. The results are the same in all of them: two learner
ranks with a thread each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/cluster"))

from ray_here import Nodes
from slurm_here import Cluster, slurm_here

SANDWICH = str(Path(sys.executable).with_name("sandwich"))
SETTINGS = [
    *("reward_model.members=1", "arms.ceiling=null", "tracking.to=[]", "resources.checkpoint_every=2"),
    *("resources.learner_ranks=2", "resources.call_timeout=20"),
]
ONE_NODE = ["resources.cpus=2"]
TWO_NODES = ["resources.nodes=2", "resources.cpus=1", "resources.rollout_engines=2"]
PATIENCE = 600.0
"""Seconds after which a wait has failed."""
SMALL_DISK = "64m"
AT_WORK = {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "REQUEUED", "SUSPENDED", "PREEMPTED", "NODE_FAIL"}
"""States of a job of SLURM that has not ended, or comes back."""


@dataclass(frozen=True)
class Run:
    """The command at work in a folder: a process of this host, or a job of SLURM by its id.

    code: its exit code once it has ended, else None.
    """

    root: Path
    code: Callable[[], int | None]
    process: subprocess.Popen[bytes] | None = None
    job: str = ""

    def steps(self) -> list[int]:
        """Recorded in PPO so far."""
        files = list((self.root / "store").glob("ppo-*/metrics.jsonl"))
        lines = files[0].read_text().splitlines(keepends=True) if files else []
        return [json.loads(line)["step"] for line in lines if line.endswith("\n")]

    def attempts(self) -> int:
        """Drivers that were started so far."""
        return len(list((self.root / "run/attempts").glob("*.json")))

    def processes(self) -> list[psutil.Process]:
        """The driver, and what it started."""
        assert self.process is not None
        driver = psutil.Process(self.process.pid)
        return [driver, *driver.children(recursive=True)]

    def end(self) -> None:
        """kill -9 of the driver and all it started; jobs of SLURM end with their SLURM."""
        if self.process is not None and self.process.poll() is None:
            for one in reversed(self.processes()):
                with suppress(psutil.NoSuchProcess):
                    one.kill()
            self.process.wait()

    def wait(self, reached: Callable[[], object]) -> None:
        """Until then, or its end. Raises TimeoutError."""
        deadline = time.monotonic() + PATIENCE
        while not reached() and self.code() is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.root}: nothing for {PATIENCE:g} s")
            time.sleep(0.01)

    def wait_for_end(self) -> int:
        """Its exit code."""
        self.wait(lambda: False)
        code = self.code()
        assert code is not None
        return code


@dataclass
class Host:
    """Processes of this host, in a folder of it."""

    folder: Path
    overrides: Sequence[str] = field(default_factory=lambda: ONE_NODE)
    variables: dict[str, str] = field(default_factory=dict)

    def start(self, root: Path, settings: Sequence[str]) -> Run:
        """Or go on."""
        command = [SANDWICH, "run", "tiny", *SETTINGS, *self.overrides, *settings, "--only", "ppo", *places(root)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **self.variables}
        with (root / "log").open("ab") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        return Run(root, process.poll, process)


@dataclass
class RayNodes(Host):
    """The same, driving a Ray cluster that was started before."""

    overrides: Sequence[str] = field(default_factory=lambda: [*TWO_NODES, "resources.placement=spread"])
    nodes: Nodes | None = None

    def renew(self) -> Nodes:
        """Another cluster, in the place of one that may be broken."""
        if self.nodes is not None:
            self.nodes.shutdown()
        self.nodes = Nodes()
        self.variables = {"RAY_ADDRESS": self.nodes.address}
        return self.nodes


@dataclass
class Slurm:
    """Jobs of two nodes in a SLURM of this host."""

    folder: Path
    cluster: Cluster

    def start(self, root: Path, settings: Sequence[str]) -> Run:
        """Or go on."""
        command = ("submit", "slurm", "tiny", *SETTINGS, *TWO_NODES, *settings, "--only", "ppo", *places(root))
        done = self.cluster.sandwich(*command, "--json", folder=root)
        assert done.returncode == 0, done.stderr
        job = json.loads(done.stdout)["job"]
        return Run(root, lambda: self.code(job), job=job)

    def code(self, job: str) -> int | None:
        """Of a job."""
        time.sleep(0.1)  # every look is a command
        state = self.cluster.state(job)
        return None if state in AT_WORK else int(state != "COMPLETED")


def places(root: Path) -> list[str]:
    """Folders of a run, as options."""
    return ["--run-dir", str(root / "run"), "--store", str(root / "store")]


@contextmanager
def small_disk(folder: Path) -> Iterator[Host]:
    """A file system of its own; mounting it takes root."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", folder], check=True)
    try:
        yield Host(folder)
    finally:
        subprocess.run(["umount", folder], check=True)


@contextmanager
def ray_nodes(folder: Path) -> Iterator[RayNodes]:
    """A Ray cluster of three nodes."""
    from sandwiching.launch.environment import set_library_environment

    set_library_environment(gpus=0)
    folder.mkdir()
    world = RayNodes(folder)
    world.renew()
    try:
        yield world
    finally:
        assert world.nodes is not None
        world.nodes.shutdown()


@contextmanager
def slurm(folder: Path) -> Iterator[Slurm]:
    """A SLURM of two nodes."""
    folder.mkdir()
    (folder / "daemons").mkdir()
    with slurm_here(folder / "daemons") as cluster:
        yield Slurm(folder, cluster)


@contextmanager
def host(folder: Path) -> Iterator[Host]:
    """This host."""
    folder.mkdir()
    yield Host(folder)
