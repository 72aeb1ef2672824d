"""Simulated checks for coverage.py: groups and items, policies that answer them, raters who judge the answers.

Realistic data: binary outcomes; groups of unequal size (numbers of questions about a country); what is easy differs
between groups and items; training runs differ in level, and in how they treat each group.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from sandwiching.oversight.competence import Panel
from sandwiching.oversight.graded import Graded
from sandwiching.oversight.spread import Array
from sandwiching.oversight.trails import Trail

SIZES = (1, 1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 5, 5, 6, 6, 7, 8, 2, 3, 4) * 3
"""Items of 60 groups: 231 items."""
SAMPLES, RATERS, PANEL = 4, 3, 24
POINTS = np.array([0.8, 1.5, 2.2, 3.0, 3.8, 4.6])
"""sqrt(KL) of snapshots."""
SPREADS = (0.25, 0.25, 0.25)
"""Deviations in log-odds: of training runs, of groups under an arm, and of groups in a run."""


@dataclass(frozen=True, slots=True)
class World:
    """Log-odds that all policies share, by item, and how far runs differ. Shapes: S seeds, N items, J samples."""

    rng: np.random.Generator
    seeds: int
    groups: list[str]
    index_N: np.ndarray
    item_N: Array

    def run(self, level: float, seed_spread: float = SPREADS[0], cell_spread: float = SPREADS[1]) -> Array:
        """Log-odds [S, N] of one arm's policies: what training does to a group is in part the same in all runs."""
        cell_SG = cell_spread * self.rng.standard_normal((self.seeds, len(SIZES)))
        cell_SG += cell_spread * self.rng.standard_normal(len(SIZES))
        seed_S1 = seed_spread * self.rng.standard_normal((self.seeds, 1))
        return level + self.item_N + seed_S1 + cell_SG[:, self.index_N]

    def draw(self, odds: Array, samples: int) -> Array:
        """1 or 0 [..., J] of these log-odds [...]."""
        return (self.rng.random((*odds.shape, samples)) < sigmoid(odds)[..., None]).astype(float)

    def leaning(self, mean: float) -> Array:
        """By how much [S, N, 1] scores tell right from wrong: runs and groups differ in it."""
        return (mean + self.run(0.0) - self.item_N)[..., None]

    def scores(self) -> Array:
        """Numbers [S, N, J] of samples, which runs, groups and items share in part."""
        own_N = 0.8 * self.rng.standard_normal(len(self.groups))
        own_SN = self.run(0.0) - self.item_N + own_N
        return own_SN[..., None] + self.rng.standard_normal((*own_SN.shape, SAMPLES))


def sigmoid(odds: Array) -> Array:
    """Probability of log-odds."""
    return 1 / (1 + np.exp(-odds))


def world(rng: np.random.Generator, seeds: int) -> World:
    """Groups and items of one simulation."""
    index_N = np.repeat(np.arange(len(SIZES)), SIZES)
    odds_N = rng.standard_normal(len(SIZES))[index_N] * 0.8 + 0.8 * rng.standard_normal(len(index_N))
    return World(rng, seeds, [f"g{group}" for group in index_N], index_N, odds_N)


def answers(one: World, panel: Panel, skill: Array) -> Graded:
    """A policy right half the time, its wrong answers approved less by raters who know more; how much less differs."""
    right_SNJ = one.draw(one.run(0.0), SAMPLES)
    look_SN = one.run(0.0) - one.item_N + 0.5 * one.item_N[::-1]
    odds = np.where(right_SNJ > 0, 0.8, -0.4) + look_SN[..., None]
    # As much as a rater of the most skill differs from one of the least, groups and runs differ in it.
    less_SN = 1.5 + 4 * (one.run(0.0) - one.item_N)
    odds_SNJR = odds[..., None] - (less_SN[..., None] * (skill[panel.rater_NR] - skill.mean()))[:, :, None, :]
    approved = (one.rng.random(odds_SNJR.shape) < sigmoid(odds_SNJR)).astype(float)
    return Graded(right_SNJ, approved, [])


def asked(one: World) -> tuple[Panel, Array]:
    """Who judges which item, how they did on its pairs, and their skill."""
    skill = np.linspace(0.4, 0.9, PANEL)
    rater_NR = np.argsort(one.rng.random((len(one.groups), PANEL)), axis=1)[:, :RATERS]
    right_NR = one.rng.binomial(3, skill[rater_NR]) / 3
    return Panel(rater_NR, right_NR, PANEL), skill


def trail_of(one: World, panel: Panel, skill: Array, floor: Graded) -> Trail:
    """A run of three snapshots, the floor first, which goes about as far as any other and changes nothing."""
    points = [floor.shares, *(answers(one, panel, skill).shares for _ in range(2))]
    kl_S1 = one.rng.uniform(2, 6, (one.seeds, 1))

    def stacked(name: str) -> Array:
        return np.stack([getattr(point, name) for point in points], axis=1)

    return Trail(
        updates=[0, 5, 10],
        kl_ST=kl_S1 * np.array([0, 0.4, 1]),
        wrong_STN=stacked("wrong"),
        approved_STN=stacked("approved"),
        approved_wrong_STN=stacked("approved_wrong"),
        forced_STN=stacked("right"),
        reward_STN=stacked("approved"),
    )


def votes(one: World) -> list[dict[str, Any]]:
    """Pairs as weak_gap takes them: two to five weak votes, 1 where as the expert's. The expert is one of them all."""
    found = []
    for group, odds, count in zip(one.groups, one.item_N, one.rng.integers(2, 6, len(one.groups)), strict=True):
        expert, *weak = one.rng.random(count + 1) < sigmoid(odds)
        found.append({"group": group, "weak_votes": [float(vote == expert) for vote in weak]})
    return found


@lru_cache
def mean_share(level: float, *spreads: float) -> float:
    """True mean share right at a level of log-odds, over groups, items and runs, by quadrature over their sum."""
    deviation = float(np.sqrt(0.8**2 + 0.8**2 + sum(spread**2 for spread in spreads)))
    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    return float((weights * sigmoid(level + deviation * nodes)).sum() / weights.sum())
