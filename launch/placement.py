"""Which bundles of devices a run asks for, and whether they fit on the nodes of a cluster: arithmetic only."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sandwiching.configs.schema import ResourcesConfig

ROUNDING = 1e-6


class DoesNotFit(ValueError):
    """More CPUs or GPUs are asked for than there are."""


def usable_cpus(resources: ResourcesConfig) -> int:
    """Cores that this process may use, or as many as configured."""
    return resources.cpus or len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class Bundle:
    """Devices that one learner rank and the roles colocated with it share; they lie on one node."""

    cpus: float
    gpus: float

    def as_resources(self, share: float = 1.0) -> dict[str, float]:
        """For Ray: this share of the bundle."""
        resources = {"CPU": self.cpus * share}
        return {**resources, "GPU": self.gpus * share} if self.gpus else resources

    def __str__(self) -> str:
        return _devices(self.cpus, self.gpus)


@dataclass(frozen=True, slots=True)
class Node:
    """What a node of a cluster has."""

    name: str
    cpus: float
    gpus: float

    def __str__(self) -> str:
        return f"{self.name} has {_devices(self.cpus, self.gpus)}"


def bundles(resources: ResourcesConfig) -> list[Bundle]:
    """One bundle a learner rank or engine when colocated; else learner ranks, engines and one scorer side by side."""
    places = [1] * max(resources.learner_ranks, resources.rollout_engines)
    if not resources.colocate:
        engines = [resources.vllm.tensor_parallel] * resources.rollout_engines
        places = [*([1] * resources.learner_ranks), *engines, 1]
    cpus, gpus = usable_cpus(resources) * resources.nodes / sum(places), resources.gpus / sum(places)
    return [Bundle(cpus * place, gpus * place) for place in places]


def rank_bundles(resources: ResourcesConfig, groups: int) -> list[Bundle]:
    """One bundle a rank of SFT or a reward model, in worker groups side by side."""
    count = resources.learner_ranks * groups
    return [Bundle(usable_cpus(resources) * resources.nodes / count, 1.0 if resources.gpus else 0.0)] * count


def check_fits(resources: ResourcesConfig, available: Mapping[str, float]) -> None:
    """Raise DoesNotFit when the cluster lacks what the bundles need together."""
    wanted = {"GPU": float(resources.gpus), "CPU": sum(bundle.cpus for bundle in bundles(resources))}
    for name, amount in wanted.items():
        has = available.get(name, 0.0)
        if amount > has + ROUNDING:
            raise DoesNotFit(
                f"the run needs {amount:g} {name}s, there are {has:g}: lower resources.{name.lower()}s or add nodes"
            )


def check_places(wanted: Sequence[Bundle], nodes: Sequence[Node], placement: str) -> None:
    """Raise DoesNotFit when not every bundle finds a node: each lies on one, and with strict_spread alone on it."""
    left = homeless(wanted, nodes, placement)
    if not left:
        return
    missing = "; ".join(f"{count} of {bundle}" for bundle, count in Counter(left).items())
    alone = ", each on a node of its own (resources.placement=strict_spread)" if placement == "strict_spread" else ""
    raise DoesNotFit(
        f"{len(wanted)} bundles are needed{alone}, and these fit on no node beside the others: {missing}. "
        f"{'; '.join(map(str, nodes)) or 'No node is up'}. "
        "Add nodes, or lower resources.learner_ranks, resources.rollout_engines, resources.cpus or resources.gpus"
    )


def homeless(wanted: Sequence[Bundle], nodes: Sequence[Node], placement: str) -> list[Bundle]:
    """Bundles for which no node has room, the largest placed first.

    Exact for what `bundles` gives: sizes are whole multiples of one another.
    """
    room = {i: (node.cpus, node.gpus) for i, node in enumerate(nodes)}
    left = []
    for bundle in sorted(wanted, key=lambda bundle: (bundle.gpus, bundle.cpus), reverse=True):
        fitting = [i for i, has in room.items() if _holds(has, bundle)]
        if not fitting:
            left.append(bundle)
            continue
        best = min(fitting, key=lambda i: (room[i][1], room[i][0]))
        if placement == "strict_spread":
            del room[best]
        else:
            room[best] = (room[best][0] - bundle.cpus, room[best][1] - bundle.gpus)
    return left


def _holds(has: tuple[float, float], bundle: Bundle) -> bool:
    return bundle.cpus <= has[0] + ROUNDING and bundle.gpus <= has[1] + ROUNDING


def _devices(cpus: float, gpus: float) -> str:
    return f"{cpus:.4g} CPUs" + (f" and {gpus:.4g} GPUs" if gpus else "")
