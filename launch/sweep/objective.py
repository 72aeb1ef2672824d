"""What a trial trains, and the number that says how good it is. Torch-free.

The objective is the mean over the weak arms and seeds: a trial trains what leads to that and no more, so that nothing
of an expert arm or of the check decides which trial is best, unless the metric is the check's: then each trial is
checked, and pays for its look.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sandwiching.configs.schema import Config
from sandwiching.configs.sweep_check import is_expert_metric, objective_arms
from sandwiching.launch.nodes import Graph, Node
from sandwiching.launch.run import with_ancestors
from sandwiching.training.artifacts import Store, read_manifest
from sandwiching.training.metrics import read_metrics


@dataclass(frozen=True, slots=True)
class Point:
    """Means over arms and seeds after a step, or at the end: the objective, and the stage's other metrics."""

    step: int
    value: float
    metrics: dict[str, float]


def measured_nodes(graph: Graph, config: Config, metric: str) -> list[Node]:
    """The nodes whose metric is the objective."""
    if is_expert_metric(metric):
        return graph.of("check")
    arms = set(objective_arms(config))
    return [node for node in graph.of(metric.partition("/")[0]) if arms & set(node.arms)]


def trial_graph(graph: Graph, config: Config, metric: str) -> Graph:
    """What a trial trains, parents before children."""
    return Graph(with_ancestors(measured_nodes(graph, config, metric)))


def series(nodes: Sequence[Node], store: Store, metric: str) -> list[Point]:
    """The objective after each step that all nodes have made."""
    by_node = []
    for node in nodes:
        folder = node.folder(store)
        assert folder is not None
        by_node.append({int(record["step"]): record for record in read_metrics(folder / "metrics.jsonl")})
    steps = sorted(set.intersection(*(set(records) for records in by_node)))
    points = []
    for step in steps:
        metrics = means([records[step] for records in by_node])
        if metric in metrics:
            points.append(Point(step, metrics[metric], metrics))
    return points


def final(nodes: Sequence[Node], store: Store, metric: str) -> Point:
    """The objective of finished stages. Raises ValueError when they do not report it."""
    manifests = []
    for node in nodes:
        folder = node.folder(store)
        assert folder is not None
        manifests.append(read_manifest(folder).metrics)
    metrics = means(manifests)
    steps = series(nodes, store, metric)
    if metric in metrics:
        return Point(steps[-1].step if steps else 0, metrics[metric], metrics)
    if steps:
        return steps[-1]
    has = ", ".join(sorted(metrics))
    raise ValueError(f"sweep.metric={metric}: the trial's stages do not report it; they report {has}")


def means(records: Sequence[dict[str, object]] | Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean of each metric that all records have as a finite number; wall-clock fields are left out."""
    shared = [key for key in records[0] if "/" in key and not key.startswith("time/")]
    found: dict[str, float] = {}
    for key in shared:
        values = [record.get(key) for record in records]
        numbers = [float(value) for value in values if isinstance(value, int | float) and math.isfinite(value)]
        if len(numbers) == len(records):
            found[key] = sum(numbers) / len(numbers)
    return found
