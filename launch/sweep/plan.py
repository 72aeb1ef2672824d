"""What `sandwich plan` says of a sweep: how many trials, what they share, and how long they take. Torch-free."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandwiching.configs.errors import ConfigError
from sandwiching.configs.resolve import with_settings
from sandwiching.configs.schema import Config
from sandwiching.configs.sweep_block import Dimension, number_of_trials, parse_space
from sandwiching.configs.sweep_check import objective_arms
from sandwiching.launch.graph import build_graph
from sandwiching.launch.nodes import Graph
from sandwiching.launch.sweep.objective import trial_graph
from sandwiching.launch.sweep.room import most_steps
from sandwiching.launch.sweep.trials import Trials
from sandwiching.policy.base_models import identity
from sandwiching.training.artifacts import MANIFEST, Store


@dataclass(frozen=True, slots=True)
class PlannedSweep:
    """The sweep of a plan. artifacts: most distinct ones by stage; seconds: of a whole sweep, None where not known.

    ended: trials that ended before.
    """

    trials: int
    ended: int
    parallel: int
    objective: str
    search: str
    scheduler: str
    space: list[str]
    artifacts: dict[str, int]
    seconds: float | None
    gpu_hours: float | None
    unknown: list[str]

    def lines(self) -> list[str]:
        """For the terminal."""
        shared = [f"{count} {stage}" for stage, count in self.artifacts.items()]
        found = [
            f"{self.trials} trials, {self.ended} of them ended; {self.parallel} at a time",
            f"{self.search}, {self.scheduler}",
            f"objective: {self.objective}",
            *self.space,
            f"at most, for all trials together: {', '.join(shared)}",
        ]
        if self.seconds is None:
            return [*found, f"time: not known before {', '.join(self.unknown)} of some run have finished in this store"]
        gpu = f", {self.gpu_hours:.3g} GPU hours" if self.gpu_hours else ""
        return [*found, f"time: about {self.seconds / 3600:.2g} h{gpu} when asha ends none, by what finished before"]


def plan_sweep(config: Config, store: Store, run_dir: Path) -> PlannedSweep | None:
    """None without a sweep."""
    sweep = config.sweep
    if sweep is None:
        return None
    dimensions, trials = parse_space(sweep.space), number_of_trials(sweep)
    graph = trial_graph(build_graph(config, cheap=True), config, sweep.metric)
    artifacts = most_artifacts(config, graph, dimensions, trials)
    costs = {stage: mean_seconds(config, stage, store) for stage in artifacts}
    unknown = [stage for stage, seconds in costs.items() if seconds is None]
    seconds = None
    if not unknown:
        total = sum(count * (costs[stage] or 0.0) for stage, count in artifacts.items())
        seconds = total / min(sweep.parallel, trials)
    gpus = config.resources.gpus * sweep.parallel
    arms, places = objective_arms(config), len(objective_arms(config)) * len(config.seeds)
    over = f", mean over {', '.join(arms)} and {len(config.seeds)} seeds" if places > 1 else f" of {arms[0]}"
    return PlannedSweep(
        trials=trials,
        ended=sum(record.final for record in Trials(run_dir).read()),
        parallel=sweep.parallel,
        objective=f"{sweep.mode} {sweep.metric}{over}",
        search=sweep.search,
        scheduler=f"{sweep.scheduler} after {sweep.grace} steps" if sweep.scheduler == "asha" else "no early end",
        space=[str(one) for one in dimensions],
        artifacts=artifacts,
        seconds=seconds,
        gpu_hours=None if seconds is None else seconds * gpus / 3600,
        unknown=unknown,
    )


def most_artifacts(config: Config, graph: Graph, dimensions: Sequence[Dimension], trials: int) -> dict[str, int]:
    """By stage, distinct artifacts of all trials at most: those of one, times the points that differ in its keys."""
    most = {}
    touching: dict[str, list[Dimension]] = {node.stage: [] for node in graph.nodes}
    for one in dimensions:
        for stage in touched(config, graph, one):
            touching[stage].append(one)
    for stage, found in touching.items():
        counts = [points if (points := one.points()) is None else len(points) for one in found]
        distinct = trials if None in counts else math.prod(count for count in counts if count is not None)
        most[stage] = len(graph.of(stage)) * min(trials, distinct)
    return most


def touched(config: Config, graph: Graph, dimension: Dimension) -> set[str]:
    """Stages whose inputs, or ancestors' inputs, differ between some values of a setting."""
    assert config.sweep is not None
    found = set()
    base = _signatures(graph)
    for value in dimension.values:
        try:
            other = with_settings(config, {dimension.key: value}, dimension.key)
        except ConfigError:
            # Fits only where another setting varies too; then that one's stage is this one's.
            found.update(stage for stage in base if stage == dimension.key.split(".")[-2])
            found.update(stage for stage in base if stage == graph.nodes[-1].stage)
            continue
        signatures = _signatures(trial_graph(build_graph(other, cheap=True), other, config.sweep.metric))
        found.update(stage for stage in base if base[stage] != signatures.get(stage))
    return found


def _signatures(graph: Graph) -> dict[str, list[str]]:
    """By stage, all that its nodes depend on: keys may not be known yet."""
    signature: dict[int, str] = {}
    found: dict[str, list[str]] = {}
    for node in graph.nodes:
        parents = {name: signature[id(parent)] for name, parent in node.parents.items()}
        signature[id(node)] = json.dumps([node.stage, node.key_inputs, parents], sort_keys=True, default=str)
        found.setdefault(node.stage, []).append(signature[id(node)])
    return {stage: sorted(texts) for stage, texts in found.items()}


def mean_seconds(config: Config, stage: str, store: Store) -> float | None:
    """Mean seconds of the store's finished artifacts of a stage on this base model; of PPO, scaled to its steps."""
    base = identity(config.model.path, config.model.revision, cheap=True)
    times = []
    for file in store.root.glob(f"{stage}-*/{MANIFEST}"):
        manifest = json.loads(file.read_text())
        if stage in ("judgements", "gate") or (base is not None and _base(manifest, store) == base):
            scale = most_steps(config) / manifest["inputs"]["ppo"]["steps"] if stage == "ppo" else 1.0
            times.append(manifest["seconds"] * scale)
    return sum(times) / len(times) if times else None


def _base(manifest: dict[str, Any], store: Store) -> str | None:
    """Identity of the base model that an artifact, or the SFT policy that it started from, was made of."""
    if "sft" not in manifest["parents"]:
        return manifest["inputs"].get("base")
    parent = store.folder("sft", manifest["parents"]["sft"]) / MANIFEST
    return json.loads(parent.read_text())["inputs"].get("base") if parent.exists() else None
