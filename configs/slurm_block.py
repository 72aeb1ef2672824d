"""The block about SLURM, in SLURM's own words, and what can be wrong with it. Importing this never imports torch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<clock>\d+(?::\d{1,2}){0,2})")


@dataclass(kw_only=True)
class ContainerConfig:
    """An image with this package installed: `sandwich` and `python` are found on its PATH."""

    image: str | None = None
    """Image as the runtime names it; null: no container."""
    mounts: list[str] = field(default_factory=list)
    """SRC:DST, besides the working directory, the run's folder, the store, the data, models and caches of the config,
    and the folders of models from the hub (HF_HOME, SANDWICHING_CACHE)."""
    runtime: str = "pyxis"
    """pyxis (srun's own options) or apptainer."""


@dataclass(kw_only=True)
class SlurmConfig:
    """What `sandwich submit slurm` asks for; nodes, GPUs and CPUs are those of `resources`. Nothing enters a key."""

    account: str | None = None
    """Account."""
    partition: str | None = None
    """Partition; null: the cluster's default."""
    qos: str | None = None
    """Quality of service."""
    gres: str | None = None
    """Generic resources a node; null: gpu:N, with resources.gpus over resources.nodes."""
    constraint: str | None = None
    """Features that nodes must have."""
    time: str = "24:00:00"
    """Time limit: [days-]hours:minutes:seconds. The job is queued again when it runs out, and resumes."""
    extra: list[str] = field(default_factory=list)
    """Other options of sbatch, as in --mem=0; they win over ours."""
    prologue: str = ""
    """Shell lines that the batch node runs first, as in `module load cuda`."""
    signal_seconds: int = 120
    """Seconds before the time limit at which a run is told to save; thirty before it, one that has not is ended.
    SLURM may be a minute early."""
    most_restarts: int = 100
    """How often a job is queued again at most: what is preempted for ever should not be tried for ever."""
    container: ContainerConfig = field(default_factory=ContainerConfig)
    """Container."""
    scratch: str | None = None
    """Folder on each node's own disk for temporary files (TMPDIR); null: /tmp."""
    offline: bool = False
    """Compute nodes have no internet: models come from the cache (HF_HUB_OFFLINE)."""


def seconds(time: str) -> int | None:
    """A time of SLURM's with a colon or days in seconds, None when it is none: M:S, H:M:S, D-H, D-H:M or D-H:M:S."""
    found = _TIME.fullmatch(time)
    if found is None:
        return None
    parts = [int(part) for part in found["clock"].split(":")]
    if found["days"] is None:
        hours, minutes, rest = [0] * (3 - len(parts)) + parts
        return None if len(parts) == 1 else hours * 3600 + minutes * 60 + rest
    hours, minutes, rest = parts + [0] * (3 - len(parts))
    return int(found["days"]) * 86400 + hours * 3600 + minutes * 60 + rest


def parse_gres(text: str) -> dict[str, int]:
    """`gpu:a100:4(S:0-1),shard:8` -> {gpu: 4, gpu:a100: 4, shard: 8}: what is there, or asked for, by name and type."""
    counts: dict[str, int] = {}
    for item in re.sub(r"\([^)]*\)", "", text).split(","):
        name, *rest = item.strip().split(":")
        amount = int(rest.pop()) if rest and rest[-1].isdigit() else 1
        for key in (name, f"{name}:{rest[0]}") if rest else (name,):
            if key:
                counts[key] = counts.get(key, 0) + amount
    return counts


def wanted_gres(slurm: SlurmConfig, gpus_per_node: int) -> str | None:
    """Generic resources to ask for on each node."""
    return slurm.gres or (f"gpu:{gpus_per_node}" if gpus_per_node else None)


def slurm_problems(slurm: SlurmConfig, gpus_per_node: int) -> Iterator[str]:
    """What is wrong with the block, a line each."""
    limit = seconds(slurm.time)
    if not limit:
        yield (
            f"slurm.time: is {slurm.time}; write [days-]hours:minutes:seconds in quotes, as in '24:00:00': "
            "YAML takes 24:00:00 without them for a number"
        )
    elif slurm.signal_seconds >= limit:
        yield f"slurm.signal_seconds={slurm.signal_seconds} is no less than slurm.time={slurm.time}; lower it"
    yield from _text_problems(slurm)
    gpus = parse_gres(slurm.gres or "").get("gpu", 0)
    if slurm.gres is not None and gpus < gpus_per_node:
        yield (
            f"slurm.gres={slurm.gres} has {gpus} GPUs a node, but resources.gpus over resources.nodes is "
            f"{gpus_per_node}; ask for gpu:{gpus_per_node}"
        )
    if slurm.container.mounts and slurm.container.image is None:
        yield "slurm.container.mounts: there is no container to mount into; set slurm.container.image"
    for mount in slurm.container.mounts:
        if not re.fullmatch(r"/[^:,]*:/[^,]*", mount):
            yield f"slurm.container.mounts: {mount!r} is no mount; write SRC:DST with absolute paths"
    if slurm.scratch is not None and not slurm.scratch.startswith("/"):
        yield f"slurm.scratch: {slurm.scratch!r} is not absolute; give a folder that every node has, as in /scratch"


def _text_problems(slurm: SlurmConfig) -> Iterator[str]:
    """Text that would not stay one option."""
    for name in ("account", "partition", "qos", "gres", "constraint"):
        value = getattr(slurm, name)
        if value is not None and (not value or any(letter.isspace() for letter in value)):
            yield f"slurm.{name}: {value!r} is empty or has spaces; give it as sbatch --{name} takes it, or null"
    for option in slurm.extra:
        if not option.startswith("-") or "\n" in option:
            yield f"slurm.extra: {option!r} is no option; write it as sbatch takes it, as in --mem=0"
