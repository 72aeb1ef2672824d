"""Learning-rate schedules of PPO as pure functions; 1 is the configured rate."""

from __future__ import annotations

import math
from collections.abc import Callable


def _warmup(step: int, steps: int, warmup_ratio: float) -> float:
    return min(1.0, (step + 1) / max(1.0, steps * warmup_ratio))


def constant(step: int, steps: int, warmup_ratio: float) -> float:
    """1 after the warm-up."""
    return _warmup(step, steps, warmup_ratio)


def linear(step: int, steps: int, warmup_ratio: float) -> float:
    """From 1 at step 0 towards 0 behind the last step (arXiv 2403.17031, detail on annealing)."""
    return _warmup(step, steps, warmup_ratio) * (1 - step / steps)


def cosine(step: int, steps: int, warmup_ratio: float) -> float:
    """Half a cosine from 1 to 0."""
    return _warmup(step, steps, warmup_ratio) * 0.5 * (1 + math.cos(math.pi * step / steps))


SCHEDULES: dict[str, Callable[[int, int, float], float]] = {"constant": constant, "linear": linear, "cosine": cosine}
