"""Monitors of the policies along PPO. Importing this module never imports torch."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(kw_only=True)
class MonitorConfig:
    """What watches the policies along PPO, from outside (docs/monitors.md)."""

    false_alarms: float = 0.05
    """Share of the SFT policy's samples that each monitor may flag; its threshold is calibrated to that."""
    fit_texts: int = 2000
    """Most judged training texts that probes and distances are fitted to, of each run, chosen by hash."""


def fewest_samples(false_alarms: float) -> int:
    """Calibration samples below which no threshold keeps the rate: n with 1/(n + 1) <= false_alarms."""
    return math.ceil(1 / false_alarms - 1e-9) - 1
