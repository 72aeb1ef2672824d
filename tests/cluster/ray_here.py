"""A Ray cluster of three raylets on this host, its daemons killed one by one.

Before Ray is imported, `sandwiching.launch.environment.set_library_environment` must have been called.
"""

from __future__ import annotations

import os
import signal
import tempfile

NODE_CPUS = 2


class Nodes:
    """A cluster whose head gives no CPUs and whose other nodes give two each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "temp_dir": tempfile.mkdtemp(prefix="ray-"), "include_dashboard": False}
        # A dead raylet is found out in a second instead of fifteen.
        head["_system_config"] = {"health_check_period_ms": 500, "health_check_failure_threshold": 2}
        # Its hooks at exit are for the main thread alone, and `add` is called from another.
        self.cluster = Cluster(initialize_head=True, head_node_args=head, shutdown_at_exit=False)
        self.others = [self.cluster.add_node(num_cpus=NODE_CPUS) for _ in range(2)]

    @property
    def address(self) -> str:
        """HOST:PORT for RAY_ADDRESS."""
        return str(self.cluster.address)

    def kill_node(self) -> None:
        """kill -9 the raylet of the first node that is left."""
        kill(self.others.pop(0), "raylet")

    def kill_drivers_node(self) -> None:
        """kill -9 the head's own raylet, which a driver on this host is joined to."""
        kill(self.cluster.head_node, "raylet")

    def kill_head(self) -> None:
        """kill -9 the GCS."""
        kill(self.cluster.head_node, "gcs_server")

    def add(self) -> None:
        """Another node."""
        self.others.append(self.cluster.add_node(num_cpus=NODE_CPUS))

    def shutdown(self) -> None:
        """End what is left of it."""
        self.cluster.shutdown()


def kill(node: object, daemon: str) -> None:
    """kill -9 a daemon that a node was started with, and wait for its end."""
    process = node.all_processes[daemon][0].process  # pyright: ignore[reportAttributeAccessIssue]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
