"""Waits until the Ray cluster at RAY_ADDRESS has its nodes: `python -m sandwiching.launch.ray_nodes COUNT SECONDS`."""

from __future__ import annotations

import logging
import os
import sys
import time


def alive_nodes() -> int:
    """Nodes of the cluster at RAY_ADDRESS that are up; 0 while nothing answers there."""
    import ray

    if not ray.is_initialized():
        try:
            ray.init(address=os.environ["RAY_ADDRESS"], log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, TimeoutError):
            return 0
    return sum(node["Alive"] for node in ray.nodes())


def wait_for_nodes(count: int, seconds: float) -> int:
    """How many nodes are up once there are `count`, or after `seconds`."""
    end = time.monotonic() + seconds
    while (alive := alive_nodes()) < count and time.monotonic() < end:
        time.sleep(0.5)
    return alive


if __name__ == "__main__":
    wanted, patience = int(sys.argv[1]), float(sys.argv[2])
    found = wait_for_nodes(wanted, patience)
    print(f"Ray: {found} of {wanted} nodes")
    sys.exit(0 if found >= wanted else 1)
