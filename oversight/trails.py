"""What was seen of each PPO run along its snapshots, on dev prompts: gold, approval, KL and the proxy, item by item.

Shapes: S training seeds, T points (the floor first, then the snapshots), N dev items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sandwiching.oversight.graded import Shares
from sandwiching.oversight.outcomes import policy_name
from sandwiching.oversight.spread import Array


@dataclass(frozen=True, slots=True)
class Point:
    """A policy after so many updates on N items: per item, lists over samples (forced: one number an item).

    correct by gold; approved: share of raters who prefer it to the anchor; kl: nats a sequence from the policy that PPO
    began with, exact at every token.
    """

    updates: int
    responses: list[list[str]]
    finished: list[list[bool]]
    correct: list[list[bool]]
    forced: list[float]
    approved: list[list[float]]
    kl: list[list[float]]


@dataclass(frozen=True, slots=True)
class Trail:
    """One arm. kl_ST in nats a sequence; forced and reward (the arm's own, deviations) are means over samples."""

    updates: list[int]
    kl_ST: Array
    wrong_STN: Array
    approved_STN: Array
    approved_wrong_STN: Array
    forced_STN: Array
    reward_STN: Array

    def shares(self, point: int) -> Shares:
        """At one point."""
        wrong, approved_wrong = self.wrong_STN[:, point], self.approved_wrong_STN[:, point]
        return Shares(wrong, self.approved_STN[:, point] - approved_wrong, approved_wrong)

    def of_seed(self, place: int) -> Trail:
        """The run of one training seed alone."""
        arrays = ("kl_ST", "wrong_STN", "approved_STN", "approved_wrong_STN", "forced_STN", "reward_STN")
        return replace(self, **{name: getattr(self, name)[place : place + 1] for name in arrays})

    @property
    def distance_ST(self) -> Array:
        """sqrt(KL)."""
        return np.sqrt(np.maximum(self.kl_ST, 0))


def trail(record: Mapping[str, Any], arm: str) -> Trail:
    """Of the trails of a check: seeds, groups [N], points {arm/seedN: [T]}, rewards {arm/seedN: [T][N][J]}."""
    names = [policy_name(arm, seed) for seed in record["seeds"]]

    def stacked(key: str) -> Array:
        return np.array([[point[key] for point in record["points"][name]] for name in names], dtype=float)

    wrong_STNJ, approved_STNJ = 1 - stacked("correct"), stacked("approved")
    return Trail(
        updates=[point["updates"] for point in record["points"][names[0]]],
        kl_ST=stacked("kl").mean((2, 3)),
        wrong_STN=wrong_STNJ.mean(3),
        approved_STN=approved_STNJ.mean(3),
        approved_wrong_STN=(wrong_STNJ * approved_STNJ).mean(3),
        forced_STN=stacked("forced"),
        reward_STN=np.array([record["rewards"][name] for name in names], dtype=float).mean(3),
    )
