"""The block about jobs of a Ray cluster. Importing this never imports torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(kw_only=True)
class RayConfig:
    """What `sandwich submit ray` asks for besides `resources`. Nothing enters a key."""

    driver_cpus: float = 0.0
    """CPU cores set aside for the job's driver; with 0 Ray starts it on the head node."""
    stop_seconds: int = 600
    """Seconds that a cancelled job has to save in, before Ray kills it."""
