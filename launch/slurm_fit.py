"""Does a run fit into a partition? SLURM accepts jobs that can never start, and lets them wait for ever."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sandwiching.configs.schema import Config, ResourcesConfig
from sandwiching.configs.slurm_block import parse_gres, seconds, wanted_gres
from sandwiching.launch.placement import bundles
from sandwiching.launch.slurm import SlurmError, call

COLUMNS = ("%P", "%a", "%l", "%s", "%N", "%c", "%G")
"""sinfo: partition, up or down, time limit, nodes a job may have, node, its cores, its generic resources."""


@dataclass(frozen=True, slots=True)
class SlurmNode:
    """One node of a partition."""

    name: str
    cpus: int
    gres: str

    def __str__(self) -> str:
        return f"{self.cpus} CPUs" + (f" and {self.gres}" if parse_gres(self.gres) else "")


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition as sinfo lists it; limits are None where there is none."""

    name: str
    default: bool
    up: bool
    time_limit: str | None
    most_nodes: int | None
    nodes: tuple[SlurmNode, ...]

    def has(self) -> str:
        """What it has, in words."""
        kinds = [str(node) for node in self.nodes]
        counted = [f"{kinds.count(kind)} with {kind}" for kind in dict.fromkeys(kinds)]
        most = f", at most {self.most_nodes} a job" if self.most_nodes is not None else ""
        limit = f", time up to {self.time_limit}" if self.time_limit else ""
        return f"partition {self.name} has {len(self.nodes)} nodes ({'; '.join(counted)}){most}{limit}"


def parse_sinfo(text: str) -> list[Partition]:
    """Partitions from the lines of `sinfo --Node`, in the order of COLUMNS."""
    lines = [line.strip().split("|") for line in text.splitlines() if "|" in line]
    found = []
    for name in dict.fromkeys(line[0] for line in lines):
        own = [line for line in lines if line[0] == name]
        _, up, limit, size, *_ = own[0]
        most = size.rpartition("-")[2]
        found.append(
            Partition(
                name=name.rstrip("*"),
                default=name.endswith("*"),
                up=up == "up",
                time_limit=None if limit in ("infinite", "n/a") else limit,
                most_nodes=int(most) if most.isdigit() else None,
                # A heterogeneous line may say 8+.
                nodes=tuple(SlurmNode(line[4], int(line[5].rstrip("+")), line[6]) for line in own),
            )
        )
    return found


def misfit(config: Config, partition: Partition) -> str | None:
    """Why the run could never start in a partition; None when it could."""
    resources, slurm = config.resources, config.slurm
    gres = wanted_gres(slurm, resources.gpus // resources.nodes)
    cpus = resources.cpus or 1
    wanted = parse_gres(gres or "")
    fitting = [
        node
        for node in partition.nodes
        if node.cpus >= cpus and all(parse_gres(node.gres).get(name, 0) >= wanted[name] for name in wanted)
    ]
    asked = f"resources.nodes={resources.nodes} with {cpus} CPUs" + (f" and {gres}" if gres else "") + " each"
    limit = seconds(partition.time_limit) if partition.time_limit else None
    if not partition.up:
        return f"partition {partition.name} is down"
    if limit is not None and (seconds(slurm.time) or 0) > limit:
        return f"slurm.time={slurm.time} is too long: {partition.has()}"
    most = min(len(fitting), partition.most_nodes or len(fitting))
    return f"{asked} can never start: {partition.has()}" if resources.nodes > most else None


def check_placement(resources: ResourcesConfig) -> None:
    """Raise SlurmError when ranks or roles cannot be laid out on the nodes: each takes an equal share of all cores."""
    if resources.nodes == 1 or resources.cpus is None:
        return
    total = resources.cpus * resources.nodes
    shares = {
        "ranks of sft": [total / resources.learner_ranks] * resources.learner_ranks,
        "bundles of ppo": sorted((bundle.cpus for bundle in bundles(resources)), reverse=True),
    }
    for name, cpus in shares.items():
        if not _laid_out(cpus, resources.nodes, resources.cpus):
            raise SlurmError(
                f"{len(cpus)} {name} of up to {max(cpus):g} cores do not fit on resources.nodes={resources.nodes} with "
                f"resources.cpus={resources.cpus} each; set resources.learner_ranks and resources.rollout_engines to "
                f"multiples of {resources.nodes}"
            )


def _laid_out(amounts: Sequence[float], nodes: int, each: float) -> bool:
    """Whether amounts, largest first, go on nodes that hold `each`."""
    free = [each] * nodes
    for amount in amounts:
        place = next((i for i, left in enumerate(free) if left + 1e-6 >= amount), None)
        if place is None:
            return False
        free[place] -= amount
    return True


def check_fits(config: Config, partitions: Sequence[Partition]) -> None:
    """Raise SlurmError unless one of the partitions that the run names, or the default, could hold it."""
    names = config.slurm.partition.split(",") if config.slurm.partition else None
    named = [one for one in partitions if (one.default if names is None else one.name in names)]
    if not named:
        known = ", ".join(sorted(one.name for one in partitions))
        problem = (
            "there is no default" if names is None else f"slurm.partition={config.slurm.partition}: no such partition"
        )
        raise SlurmError(f"{problem}; set slurm.partition to one of {known}")
    reasons = [misfit(config, one) for one in named]
    if all(reasons):
        raise SlurmError("; ".join(str(reason) for reason in reasons))
    check_placement(config.resources)


def partitions_here(extra: Sequence[str] = ()) -> list[Partition]:
    """All partitions of the cluster, or of those that options of sbatch (slurm.extra) name."""
    clusters = [option for option in extra if option.startswith(("--clusters=", "--cluster=", "-M"))]
    return parse_sinfo(call("sinfo", *clusters, "--noheader", "--Node", f"--format={'|'.join(COLUMNS)}"))
