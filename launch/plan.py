"""What `sandwich plan` shows: a dry run, made from the config and the files of the store. Torch-free."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sandwiching.configs.algebra import batch_algebra
from sandwiching.configs.load import arm_config
from sandwiching.configs.schema import Config, ResourcesConfig
from sandwiching.configs.structure import plain
from sandwiching.launch.architecture import Architecture, find_architecture
from sandwiching.launch.estimate import RoleMemory, StageDisk, per_device, stage_disk, stage_memory
from sandwiching.launch.label_budget import LabelBudget, label_budget
from sandwiching.launch.looks import PlannedLooks, planned_looks
from sandwiching.launch.nodes import Graph, Node
from sandwiching.launch.reasons import ACTIONS, reason
from sandwiching.launch.sweep.plan import PlannedSweep, plan_sweep
from sandwiching.training.artifacts import Store
from sandwiching.training.checkpoints import last_cost

VERSION = 1


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """One artifact to be. `action`: skip, resume, run, or unknown while its key is."""

    name: str
    stage: str
    arms: list[str]
    action: str
    reason: str
    key: str | None
    folder: str | None
    parents: list[str]
    disk: StageDisk | None


@dataclass(frozen=True, slots=True)
class StageMemory:
    """Roles in memory at the same time, and the bytes on the fullest device."""

    roles: list[RoleMemory]
    device_bytes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole dry run; estimates are None where the base model's architecture is not known."""

    version: int
    config: dict[str, Any]
    stages: list[PlannedStage]
    batch_algebra: list[str]
    placement: list[str]
    parameters: int | None
    memory: dict[str, StageMemory] | None
    machine_memory_bytes: int
    new_disk_bytes: int | None
    free_disk_bytes: int
    sweep: PlannedSweep | None = None
    labels: LabelBudget | None = None
    looks: PlannedLooks | None = None
    checkpoint_costs: dict[str, tuple[str, int, float]] = field(default_factory=dict)
    """Of each stage that has written one into this store: the artifact, bytes and seconds of its newest checkpoint."""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def make_plan(config: Config, graph: Graph, store: Store, run_dir: Path) -> Plan:
    """The plan of a graph."""
    architecture = find_architecture(config.model)
    stages = [_planned(node, config, store, run_dir, architecture) for node in graph.nodes]
    memory = most_memory(config, architecture) if architecture is not None else None
    sweep = plan_sweep(config, store, run_dir)
    return Plan(
        version=VERSION,
        config=plain(config),
        stages=stages,
        batch_algebra=batch_algebra(config),
        placement=placement(config.resources),
        parameters=architecture.parameters if architecture else None,
        memory=memory,
        machine_memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        new_disk_bytes=_new_disk(stages, sweep) if architecture else None,
        free_disk_bytes=shutil.disk_usage(_existing(store.root)).free,
        sweep=sweep,
        labels=label_budget(config, graph, store),
        looks=planned_looks(config, graph, store),
        checkpoint_costs={
            stage: cost
            for stage in dict.fromkeys(node.stage for node in graph.nodes)
            if (cost := last_cost(store.root, stage)) is not None
        },
    )


def new_disk(disks: Sequence[StageDisk]) -> int:
    """Bytes written at most: what all leave, and what the largest has beside that while it is at work."""
    return sum(disk.finished for disk in disks) + max((disk.most - disk.finished for disk in disks), default=0)


def sweep_disk(stages: Sequence[PlannedStage], sweep: PlannedSweep) -> int:
    """The same of all trials together, `parallel` of them at work at once; what the store has is not taken off."""
    left, meanwhile = 0, 0
    for name, count in sweep.artifacts.items():
        disks = [stage.disk for stage in stages if stage.stage == name and stage.disk]
        left += count * max((disk.finished for disk in disks), default=0)
        beside = max((disk.most - disk.finished for disk in disks), default=0)
        meanwhile = max(meanwhile, min(count, sweep.parallel) * beside)
    return left + meanwhile


def most_memory(config: Config, architecture: Architecture) -> dict[str, StageMemory]:
    """By stage, the memory of the arm that needs most."""
    most: dict[str, StageMemory] = {}
    for name in config.arms:
        for stage, roles in stage_memory(arm_config(config, name), architecture).items():
            found = StageMemory(roles, per_device(roles, config.resources))
            if stage not in most or found.device_bytes > most[stage].device_bytes:
                most[stage] = found
    return most


def placement(resources: ResourcesConfig) -> list[str]:
    """Which ranks and roles share which devices."""
    ranks, engines, gpus = resources.learner_ranks, resources.rollout_engines, resources.gpus
    cores = resources.cpus or len(os.sched_getaffinity(0))
    where = f"{gpus} GPUs" if gpus else f"{cores * resources.nodes} CPU cores"
    lines = [f"{resources.nodes} node{'s' * (resources.nodes > 1)}, {where}"]
    groups = resources.parallel_members
    share = _share(gpus, cores * resources.nodes, ranks * groups)
    lines.append(
        f"sft, reward_model: {ranks} ranks a model, {groups} model{'s' * (groups > 1)} at a time; {share} a rank"
    )
    if resources.colocate:
        slots = max(ranks, engines)
        share = _share(gpus, cores * resources.nodes, slots)
        lines.append(
            f"ppo: {slots} bundles of {share}, taking turns: learner on {ranks}, engine on {engines}, scorer on {slots}"
        )
    else:
        share = _share(gpus, cores * resources.nodes, ranks + engines + 1)
        lines.append(f"ppo, side by side: {ranks} learner ranks, {engines} engines, 1 scorer; {share} each")
    return lines


def _share(gpus: int, cores: int, parts: int) -> str:
    return f"{gpus / parts:.3g} GPU" if gpus else f"{cores / parts:.3g} cores"


def _planned(
    node: Node, config: Config, store: Store, run_dir: Path, architecture: Architecture | None
) -> PlannedStage:
    folder = node.folder(store)
    return PlannedStage(
        name=node.slug,
        stage=node.stage,
        arms=node.arms,
        action=ACTIONS[node.state(store)],
        reason=reason(node, store, run_dir, config.model),
        key=node.key,
        folder=str(folder) if folder else None,
        parents=[parent.slug for parent in node.parents.values()],
        disk=stage_disk(node, config, architecture) if architecture else None,
    )


def _new_disk(stages: Sequence[PlannedStage], sweep: PlannedSweep | None) -> int:
    if sweep is not None:
        return sweep_disk(stages, sweep)
    return new_disk([stage.disk for stage in stages if stage.disk and stage.action != "skip"])


def _existing(path: Path) -> Path:
    """The path, or its nearest ancestor that exists."""
    path = path.resolve()
    return next(folder for folder in (path, *path.parents) if folder.exists())
