"""A real SLURM of two nodes on this host, in a folder of its own: munged, slurmctld, two slurmd, ended by their pids.

What a real cluster has and this one lacks: GPUs (n1 and n2 have two files called gpu), cgroups, a second host.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandwiching.configs.load import load
from sandwiching.launch.slurm_script import Places, render

SANDWICH = Path(sys.executable).parent / "sandwich"
DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch")

SLURM_CONF = """
ClusterName=sandwiching
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={root}/munge.sock,cred_expire=5
CryptoType=crypto/munge
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool.%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobRequeue=1
FirstJobId={first}
KillWait=10
SlurmdParameters=config_overrides
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
NodeName=DEFAULT CPUs=4 RealMemory=8000 Gres=gpu:2 Feature=fast State=UNKNOWN
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]}
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]}
PartitionName=debug Nodes=n1,n2 Default=YES GraceTime=60 MaxTime=1-00:00:00 State=UP PriorityTier=1
PartitionName=high Nodes=n1,n2 MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""

GRES_CONF = """
AutoDetect=off
NodeName=n1 Name=gpu File={root}/gpu.n1.[0-1]
NodeName=n2 Name=gpu File={root}/gpu.n2.[0-1]
"""


@dataclass(frozen=True)
class Cluster:
    """The cluster in `root`; every command has a timeout."""

    root: Path

    def run(
        self, *command: object, folder: Path | None = None, timeout: float = 60, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A command of SLURM's, or `sandwich`, with this cluster as its own."""
        return subprocess.run(
            [str(word) for word in command],
            cwd=folder,
            env={**os.environ, "SLURM_CONF": str(self.root / "slurm.conf"), "CUDA_VISIBLE_DEVICES": ""},
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def sandwich(self, *arguments: object, folder: Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """`sandwich ARGUMENTS` in a folder."""
        return self.run(SANDWICH, *arguments, folder=folder, timeout=timeout)

    def set_user_signal(self, on: bool) -> None:
        """Whether a preempted job gets the signal that it asked for."""
        file, line = self.root / "slurm.conf", "SlurmctldParameters=preempt_send_user_signal"
        text = file.read_text().replace(f"#{line}", line)
        file.write_text(text if on else text.replace(line, f"#{line}"))
        assert self.run("scontrol", "reconfigure").returncode == 0

    def preempt(self, seconds: float) -> str:
        """A job of a higher partition that takes both nodes; its id."""
        asked = ("--partition=high", "--nodes=2", "--exclusive", "--time=00:02:00", "--output=/dev/null")
        return self.run("sbatch", "--parsable", *asked, f"--wrap=sleep {seconds:g}").stdout.strip()

    def run_out_of_time(self, job: str, log: Path, timeout: float, driver: int | None = None) -> None:
        """Cut a running job's time to what it has had and two minutes, of which SLURM warns it at its next look (30 s).

        A `driver` (process) whose work would be done by then stands still until the warning. Once the job is queued
        again, with `log` saying so, it has an hour.
        """
        warned, queued = (log.read_text().count(words) + 1 for words in ("SIGUSR1 from SLURM", "queued again"))
        used = self.run("squeue", "--noheader", f"--jobs={job}", "--format=%M").stdout.strip()
        if driver is not None:
            os.kill(driver, signal.SIGSTOP)
        try:
            self.set_time(job, int(used.split(":")[-2]) + 2)
            self.says_again(log, "SIGUSR1 from SLURM", warned, timeout)
        finally:
            if driver is not None:
                os.kill(driver, signal.SIGCONT)
        self.says_again(log, "queued again", queued, timeout)
        self.set_time(job, 60)

    def says_again(self, log: Path, words: str, times: int, timeout: float) -> None:
        """Wait until a log has these words so many times."""
        self.wait_for(lambda: "yes" if log.read_text().count(words) >= times else None, timeout, f"{log}: {words}")

    def set_time(self, job: str, minutes: int) -> None:
        """The job's time limit."""
        done = self.run("scontrol", "update", f"JobId={job}", f"TimeLimit={minutes}")
        assert done.returncode == 0, done.stderr

    def start(self, folder: Path, driver: str, *overrides: str, python: str = f'exec {sys.executable} "$@"') -> str:
        """A job of tiny whose `sandwich` and `python` are these lines of bash; its output is folder/1.log."""
        programs = folder / "bin dir"
        programs.mkdir()
        for name, text in (("sandwich", driver), ("python", python)):
            (programs / name).write_text(f"#!/bin/bash\n{text}\n")
            (programs / name).chmod(0o755)
        script = folder / "1.sbatch"
        script.write_text(render(load("tiny", overrides), ["run"], Places(folder, folder / "1", programs)))
        done = self.run("sbatch", "--parsable", script)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def says(self, folder: Path, words: str, timeout: float = 30, submission: int = 1) -> None:
        """Wait until a job has written these words into folder/N.log."""
        log = folder / f"{submission}.log"
        self.wait_for(lambda: "yes" if log.exists() and words in log.read_text() else None, timeout, words)

    def state(self, job: str) -> str:
        """PENDING, RUNNING, COMPLETED and so on; empty when SLURM has forgotten the job."""
        return self.run("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T").stdout.strip()

    def wait(self, job: str, states: set[str], timeout: float) -> str:
        """The state of a job once it is one of `states`."""
        return self.wait_for(
            lambda: state if (state := self.state(job)) in states else None, timeout, f"end of job {job}"
        )

    def wait_for_all(self, job: str, states: set[str], timeout: float) -> set[str]:
        """The states of all tasks of an array once each is one of `states`."""
        self.wait_for(lambda: "yes" if set(self.state(job).split()) <= states else None, timeout, f"end of {job}")
        return set(self.state(job).split())

    def wait_for(self, look: Callable[[], str | None], timeout: float, what: str) -> str:
        """What `look` finds, asked until it finds something."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if found := look():
                return found
            time.sleep(0.5)
        raise TimeoutError(f"{what}: not within {timeout} s")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    with_sockets = [socket.socket() for _ in range(count)]
    for one in with_sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in with_sockets]
    for one in with_sockets:
        one.close()
    return ports


def write_files(root: Path) -> None:
    """Configuration, key, and what stands for GPUs."""
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    fields = {"root": root, "user": user, "host": socket.gethostname().partition(".")[0], "ports": free_ports(3)}
    # Ports of Ray follow from a job's id, and other such clusters may be on this host.
    fields["first"] = random.randrange(1, 1_000_000)
    (root / "slurm.conf").write_text(SLURM_CONF.format(**fields))
    (root / "gres.conf").write_text(GRES_CONF.format(**fields))
    (root / "munge.key").write_bytes(os.urandom(1024))
    (root / "munge.key").chmod(0o400)
    (root / "state").mkdir()
    for node in ("n1", "n2"):
        for number in (0, 1):
            (root / f"gpu.{node}.{number}").symlink_to("/dev/null")


def start(cluster: Cluster) -> None:
    """All four daemons, until both nodes are idle."""
    root = cluster.root
    files = {"socket": "munge.sock", "key-file": "munge.key", "log-file": "munged.log", "seed-file": "munged.seed"}
    options = [f"--{name}={root / file}" for name, file in {**files, "pid-file": "munged.pid"}.items()]
    commands = [["munged", "--force", *options], ["slurmctld", "-c"], ["slurmd", "-N", "n1"], ["slurmd", "-N", "n2"]]
    for command in commands:
        done = cluster.run(*command)
        assert done.returncode == 0, done.stderr
    idle = ("sinfo", "--noheader", "--partition=debug", "--states=idle", "--format=%D")
    cluster.wait_for(lambda: "2" if cluster.run(*idle).stdout.strip() == "2" else None, 60, "two idle nodes")


def end_jobs(cluster: Cluster) -> None:
    """Cancel all jobs, and wait until their processes have ended: they outlive a slurmd."""
    cluster.run("scancel", f"--user={os.getuid()}")
    for _ in range(60):
        if not cluster.run("squeue", "--noheader").stdout.strip():
            return
        time.sleep(0.5)


def stop(root: Path) -> None:
    """End what this cluster started, and wait until it has ended."""
    for file in [*root.glob("slurmd.*.pid"), root / "slurmctld.pid", root / "munged.pid"]:
        if file.exists():
            end(int(file.read_text()))


def end(process: int) -> None:
    """TERM, then KILL after ten seconds."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for _ in range(100):
            try:
                os.kill(process, number)
            except ProcessLookupError:
                return
            time.sleep(0.1)


@contextmanager
def slurm_here(root: Path) -> Iterator[Cluster]:
    """A cluster, until the end of the context, and its jobs with it. Raises FileNotFoundError without SLURM."""
    missing = [name for name in DAEMONS if shutil.which(name) is None]
    if missing:
        raise FileNotFoundError(f"{', '.join(missing)} not found: `make test-cluster` installs SLURM and munge")
    found = Cluster(root)
    write_files(root)
    try:
        start(found)
        yield found
    finally:
        end_jobs(found)
        stop(root)
