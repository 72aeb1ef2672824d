"""The sbatch text of a run: a pure function of the config and of where things lie.

One node runs `sandwich run` as it is. On several, the job makes a Ray cluster of its own, a step of srun for the head
and one for the workers, and ends it by ending those steps: `ray stop` and `ray symmetric-run` end everybody's Ray.

SLURM signals the batch script alone, which hands USR1 (the time limit is near, or a preemption) and TERM on to the
driver. The driver saves and exits with code 75: the job is queued again, and goes on where it was. One that has not
saved in time is ended before SLURM ends the job, for good: it is queued again too, and goes on from its checkpoint.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sandwiching.configs.schema import Config
from sandwiching.configs.slurm_block import wanted_gres
from sandwiching.launch.failures import ExitCode
from sandwiching.launch.slurm_bash import DRIVER, ENVIRONMENT, ONE_NODE, RAY, SIGNALS

ENDING_SECONDS = 30
"""Of slurm.signal_seconds, what is kept for the end of a driver that has not saved, and of Ray's nodes."""

OWN_MOUNTS = '"$RAY_TMPDIR:$RAY_TMPDIR,$TMPDIR:$TMPDIR"'
"""Folders that the job makes itself, as bash words."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where things lie: absolute paths, on a file system that all nodes share."""

    work_dir: Path
    """Where the job runs; relative paths in the config start here."""
    log: Path
    """`<log>.log` is the job's output; Ray's own logs lie beside it."""
    bin_dir: Path
    """`sandwich` and `python`, where there is no container."""
    folders: Sequence[Path] = ()
    """What the job reads and writes elsewhere: mounted into a container."""
    caches: Mapping[str, Path] = field(default_factory=dict)
    """Folders of models, by the variable that says so: the same, and named there, where the home is another."""
    tasks: int | None = None
    """Tasks of a job array, each with a `<log>-<task>.log` of its own; None: a plain job."""


def render(config: Config, command: Sequence[str], places: Places) -> str:
    """The sbatch text that runs `sandwich COMMAND`; each task of an array runs the same.

    Raises ValueError for several nodes without resources.cpus: Ray is told how many cores each node gives.
    """
    resources, slurm = config.resources, config.slurm
    if resources.nodes > 1 and resources.cpus is None:
        raise ValueError("resources.cpus: several nodes need it; set the CPU cores to use on each node")
    parts = [
        "\n".join(["#!/bin/bash", *(f"#SBATCH {option}" for option in options(config, places))]),
        slurm.prologue.strip("\n"),
        f"scratch={shlex.quote(slurm.scratch or '/tmp')}\n{ENVIRONMENT}",
        "export HF_HUB_OFFLINE=1" if slurm.offline else "",
        "\n".join(variables(config, command, places)),
        SIGNALS,
        RAY if resources.nodes > 1 else ONE_NODE,
        DRIVER,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def options(config: Config, places: Places) -> list[str]:
    """Options of sbatch; those of slurm.extra come last and win."""
    resources, slurm = config.resources, config.slurm
    given = {
        "job-name": config.name,
        # A percent sign stands for something in file names of SLURM's.
        "output": f"{places.log}".replace("%", "%%") + (".log" if places.tasks is None else "-%a.log"),
        "array": None if places.tasks is None else f"0-{places.tasks - 1}",
        "chdir": str(places.work_dir),
        "account": slurm.account,
        "partition": slurm.partition,
        "qos": slurm.qos,
        "constraint": slurm.constraint,
        "nodes": str(resources.nodes),
        "ntasks-per-node": "1",
        "cpus-per-task": str(resources.cpus) if resources.cpus else None,
        "gres": wanted_gres(slurm, resources.gpus // resources.nodes),
        "time": slurm.time,
        "signal": f"B:USR1@{slurm.signal_seconds}",
        "open-mode": "append",
    }
    named = [f"--{name}={shlex.quote(value)}" for name, value in given.items() if value is not None]
    return [*named, "--requeue", *slurm.extra]


def variables(config: Config, command: Sequence[str], places: Places) -> list[str]:
    """What the bash of slurm_bash.py reads, an assignment a line."""
    resources, container = config.resources, config.slurm.container
    # In a container they are on its PATH.
    programs = "" if container.image else f"{places.bin_dir}/"
    python = shlex.quote(f"{programs}python")
    srun = "srun --overlap --export=ALL --ntasks-per-node=1"
    # srun does not take it over from sbatch.
    srun += f" --cpus-per-task={resources.cpus}" if resources.cpus else ""
    pyxis = container.image is not None and container.runtime == "pyxis"
    lines = []
    if container.image:
        lines += [f"export {name}={shlex.quote(str(folder))}" for name, folder in places.caches.items()]
        lines.append(f"container=({_pyxis(config, places) if pyxis else _apptainer(config, places)})")
    if pyxis or resources.nodes > 1:
        lines.append(f'step=({srun} "${{container[@]}}")' if pyxis else f"step=({srun})")
    if pyxis:
        lines.append('here=("${step[@]}" --nodes=1 --ntasks=1 --nodelist="$SLURMD_NODENAME")')
    here = '"${here[@]}" ' if pyxis else '"${container[@]}" ' if container.image else ""
    lines.append(f"command=({here}{shlex.join([f'{programs}sandwich', *command])})")
    lines.append(f"requeue={ExitCode.REQUEUE.value} most_restarts={config.slurm.most_restarts}")
    lines.append(f"patience={max(1, config.slurm.signal_seconds - ENDING_SECONDS)}")
    if resources.nodes == 1:
        return lines
    inside = "" if pyxis else here
    return [
        *lines,
        f"nodes={resources.nodes}",
        f"log={shlex.quote(str(places.log))}" + ("" if places.tasks is None else '-"$SLURM_ARRAY_TASK_ID"'),
        f"ray=({inside}{python} -m ray.scripts.scripts)",
        f"amounts=(--num-cpus={resources.cpus} --num-gpus={resources.gpus // resources.nodes})",
        f"ready=({here}{python} -m sandwiching.launch.ray_nodes {resources.nodes} {resources.start_timeout:g})",
    ]


def _mounts(config: Config, places: Places) -> str:
    """Bash words of all mounts: the same path inside for what is ours."""
    own = dict.fromkeys(str(folder) for folder in (places.work_dir, *places.folders, *places.caches.values()))
    mounts = [*(f"{folder}:{folder}" for folder in own), *config.slurm.container.mounts]
    return f"{shlex.quote(','.join(mounts) + ',')}{OWN_MOUNTS}"


def _pyxis(config: Config, places: Places) -> str:
    image, folder = shlex.quote(str(config.slurm.container.image)), shlex.quote(str(places.work_dir))
    return f"--container-image={image} --container-workdir={folder} --container-mounts={_mounts(config, places)}"


def _apptainer(config: Config, places: Places) -> str:
    image, folder = shlex.quote(str(config.slurm.container.image)), shlex.quote(str(places.work_dir))
    gpus = "--nv " if config.resources.gpus else ""
    return f"apptainer exec {gpus}--pwd {folder} --bind {_mounts(config, places)} {image}"
