"""Curves along PPO: proxy reward and KL from its metrics, correctness on dev prompts from its snapshots.

Everything is placed by the number of updates done: record n of metrics.jsonl describes responses sampled before update
n, from the policy of n - 1 updates; snapshots/step_n holds the policy after n. 0 updates is the floor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sandwiching.training.metrics import read_metrics


@dataclass(frozen=True, slots=True)
class GoldPoint:
    """Shares right on the dev prompts after so many updates."""

    updates: int
    free: float
    forced: float


@dataclass(frozen=True, slots=True)
class Curve:
    """One PPO run. reward: combined score before the end-of-text rule; kl: nats a sequence to the SFT policy."""

    arm: str
    seed: int
    updates: list[int]
    reward: list[float]
    kl: list[float]
    gold: list[GoldPoint]


def curve(arm: str, seed: int, artifact: Path, gold: Sequence[GoldPoint]) -> Curve:
    """Put the run's own metrics beside the gold points.

    Raises ValueError when the metrics have no reward or KL.
    """
    records = read_metrics(artifact / "metrics.jsonl")
    missing = [record["step"] for record in records if not {"ppo/score", "ppo/kl"} <= record.keys()]
    if missing or not records:
        raise ValueError(f"{artifact}/metrics.jsonl has no ppo/score and ppo/kl at steps {missing or 'any'}")
    return Curve(
        arm=arm,
        seed=seed,
        updates=[record["step"] - 1 for record in records],
        reward=[record["ppo/score"] for record in records],
        kl=[record["ppo/kl"] for record in records],
        gold=list(gold),
    )
