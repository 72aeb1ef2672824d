"""Starting or joining a Ray cluster, and whether the run fits on it, said before any model is loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from sandwiching.configs.schema import ResourcesConfig

OBJECT_STORE_BYTES = 512 * 2**20


class DoesNotFit(ValueError):
    """More CPUs or GPUs are asked for than there are."""


def usable_cpus(resources: ResourcesConfig) -> int:
    """Cores that this process may use, or as many as configured."""
    return resources.cpus or len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class Bundle:
    """Devices that one learner rank and the roles colocated with it share."""

    cpus: float
    gpus: float

    def as_resources(self, share: float = 1.0) -> dict[str, float]:
        """For Ray: this share of the bundle."""
        resources = {"CPU": self.cpus * share}
        return {**resources, "GPU": self.gpus * share} if self.gpus else resources


def bundles(resources: ResourcesConfig) -> list[Bundle]:
    """One bundle a learner rank or engine when colocated; else learner ranks, engines and one scorer side by side."""
    places = [1] * max(resources.learner_ranks, resources.rollout_engines)
    if not resources.colocate:
        engines = [resources.vllm.tensor_parallel] * resources.rollout_engines
        places = [*([1] * resources.learner_ranks), *engines, 1]
    cpus, gpus = usable_cpus(resources) * resources.nodes / sum(places), resources.gpus / sum(places)
    return [Bundle(cpus * place, gpus * place) for place in places]


def check_fits(resources: ResourcesConfig, available: Mapping[str, float]) -> None:
    """Raise DoesNotFit when the cluster lacks what the bundles need."""
    wanted = {"GPU": float(resources.gpus), "CPU": sum(bundle.cpus for bundle in bundles(resources))}
    for name, amount in wanted.items():
        has = available.get(name, 0.0)
        if amount > has + 1e-6:
            raise DoesNotFit(
                f"the run needs {amount:g} {name}s, there are {has:g}: lower resources.{name.lower()}s or add nodes"
            )


def check_local_devices(resources: ResourcesConfig) -> None:
    """Raise DoesNotFit when a run on this machine alone asks for GPUs that it lacks."""
    import torch

    check_fits(resources, {"GPU": float(torch.cuda.device_count()), "CPU": float("inf")})


def start_ray(resources: ResourcesConfig) -> None:
    """Join the cluster at RAY_ADDRESS, or start one on this machine."""
    import ray

    common = {"log_to_driver": False, "logging_level": "ERROR"}
    if "RAY_ADDRESS" in os.environ:
        ray.init(address=os.environ["RAY_ADDRESS"], **common)
    else:
        ray.init(
            address="local",
            num_cpus=usable_cpus(resources),
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            **common,
        )
    check_fits(resources, ray.cluster_resources())
