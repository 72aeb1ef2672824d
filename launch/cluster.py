"""Starting or joining a Ray cluster, and whether the run fits on its nodes, said before any model is loaded."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from sandwiching.configs.schema import ResourcesConfig
from sandwiching.launch.failures import NoRoom
from sandwiching.launch.placement import Bundle, DoesNotFit, Node, bundles, check_fits, check_places, usable_cpus

OBJECT_STORE_BYTES = 512 * 2**20
LOOK_SECONDS = 1.0
"""Between two looks at the nodes of a cluster."""


def check_local_devices(resources: ResourcesConfig) -> None:
    """Raise DoesNotFit when a run on this machine alone asks for GPUs that it lacks."""
    import torch

    check_fits(resources, {"GPU": float(torch.cuda.device_count()), "CPU": float("inf")})


def start_ray(resources: ResourcesConfig) -> None:
    """Join the cluster at RAY_ADDRESS, or start one on this machine. Raises DoesNotFit."""
    import ray

    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", str(resources.start_timeout))
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
    try:
        check_fits(resources, ray.cluster_resources())
        check_places(bundles(resources), nodes_up(), resources.placement)
    except DoesNotFit:
        ray.shutdown()
        raise


def nodes_up() -> list[Node]:
    """Nodes that Ray believes alive (it finds out that one is lost after some seconds), with all that they have."""
    import ray

    alive = [node for node in ray.nodes() if node["Alive"]]
    rooms = [(node["NodeManagerAddress"], node["NodeID"], node["Resources"]) for node in alive]
    return [Node(f"{host} ({name[:8]})", has.get("CPU", 0.0), has.get("GPU", 0.0)) for host, name, has in rooms]


def wait_for_room(wanted: Sequence[Bundle], resources: ResourcesConfig) -> None:
    """Return once the nodes have room for the bundles; raise NoRoom when resources.start_timeout is over.

    For a run that may have lost a node, in whose place another may come.
    """
    end = time.monotonic() + resources.start_timeout
    while True:
        try:
            check_places(wanted, nodes_up(), resources.placement)
        except DoesNotFit as error:
            if time.monotonic() > end:
                waited = f"within {resources.start_timeout:g} s (resources.start_timeout) no node came back"
                raise NoRoom(f"{waited}: {error}") from None
            time.sleep(LOOK_SECONDS)
        else:
            return


def no_room(wanted: Sequence[Bundle], resources: ResourcesConfig) -> NoRoom:
    """Why the bundles did not come within resources.start_timeout: nodes are too few, or others hold what they have."""
    try:
        check_places(wanted, nodes_up(), resources.placement)
    except DoesNotFit as error:
        return NoRoom(str(error))
    return NoRoom(
        f"others left no room within {resources.start_timeout:g} s (resources.start_timeout) for bundles of "
        f"{', '.join(map(str, wanted))}. Free now: {free_now()}"
    )


def free_now() -> str:
    """What no actor or other job holds, a node each, in words."""
    import ray
    from ray._private.state import available_resources_per_node

    hosts = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes()}
    free = [
        Node(f"{hosts.get(name, '?')} ({name[:8]})", has.get("CPU", 0.0), has.get("GPU", 0.0))
        for name, has in available_resources_per_node().items()
    ]
    return "; ".join(map(str, free)) or "no node is up"
