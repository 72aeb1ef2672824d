"""How often each kind of interval that a check prints covers what is true, over simulated checks without any effect.

    python benchmarks/coverage.py [--simulations 1000] [--write]

Realistic data: binary outcomes; groups of unequal size (numbers of questions about a country); what is easy differs
between groups and items; training runs differ in level, and in how they treat each group. In every simulation the arm
is as the floor, in distribution, and the null arm as the arm; ratios have a true value that is known. A row covers when
0 (or that value) lies inside. `--write` puts the table into benchmarks/results/coverage.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sandwiching.oversight.best_of_n import best_of_n
from sandwiching.oversight.competence import Panel, competence_slope
from sandwiching.oversight.fooling import decompose, fooling
from sandwiching.oversight.graded import Graded
from sandwiching.oversight.intervals import Interval, mean_interval
from sandwiching.oversight.matched_null import compared_shares
from sandwiching.oversight.over_optimisation import basis, gao_fit
from sandwiching.oversight.recovery import gap_recovered
from sandwiching.oversight.spread import Array

FILE = Path(__file__).parent / "results" / "coverage.md"
CONFIDENCE = 0.95
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
        return (self.rng.random((*odds.shape, samples)) < _sigmoid(odds)[..., None]).astype(float)


def _sigmoid(odds: Array) -> Array:
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
    approved = (one.rng.random(odds_SNJR.shape) < _sigmoid(odds_SNJR)).astype(float)
    return Graded(right_SNJ, approved, [])


def asked(one: World) -> tuple[Panel, Array]:
    """Who judges which item, how they did on its pairs, and their skill."""
    skill = np.linspace(0.4, 0.9, PANEL)
    rater_NR = np.argsort(one.rng.random((len(one.groups), PANEL)), axis=1)[:, :RATERS]
    right_NR = one.rng.binomial(3, skill[rater_NR]) / 3
    return Panel(rater_NR, right_NR, PANEL), skill


def covered(interval: Interval, truth: float = 0.0) -> bool:
    """Whether the truth lies inside."""
    return interval.low <= truth <= interval.high


def plain(one: World) -> Iterator[tuple[str, bool]]:
    """Levels, paired differences, and PGR of which the true value is .5."""
    first, second = (one.draw(one.run(0.0), SAMPLES).mean(2) for _ in range(2))
    yield "mean", covered(mean_interval(first, one.groups, CONFIDENCE), MEAN_RIGHT)
    yield "paired difference", covered(mean_interval(second - first, one.groups, CONFIDENCE))
    line_N = one.draw(-0.3 + one.item_N, 2).mean(1)
    line_level, ceiling_level = _level(-0.3), _level(0.9, *SPREADS)
    ceiling = one.draw(one.run(0.9), 1)[..., 0]
    arm = one.draw(one.run(0.3), 1)[..., 0]
    truth = (_level(0.3, *SPREADS) - line_level) / (ceiling_level - line_level)
    yield "PGR (Fieller set)", truth in gap_recovered(arm, ceiling, line_N[None], one.groups, CONFIDENCE).ratio


def judged(one: World) -> Iterator[tuple[str, bool]]:
    """Fooling and all that goes with it; nothing changes."""
    panel, skill = asked(one)
    floor, arm, null = (answers(one, panel, skill) for _ in range(3))
    groups = one.groups
    found = fooling(floor.shares, arm.shares, groups, CONFIDENCE)
    yield "fooling", covered(found.change)
    yield "change of P(approved given wrong)", covered(found.unstandardised)
    parts = decompose(floor.shares, arm.shares, groups, CONFIDENCE)
    for name in ("credit", "right", "fooled", "other_wrong"):
        yield f"decomposition, {name}", covered(getattr(parts, name))
    against = compared_shares(floor.shares, arm.shares, null.shares, groups, CONFIDENCE)
    yield "fooling less the null arm's", covered(against["difference"])
    slope = competence_slope(floor, arm, panel, groups, CONFIDENCE)
    yield "slope over competence", covered(slope.slope)
    yield "fooling of a third of the raters", covered(slope.thirds["middle"].change)


def optimised(one: World) -> Iterator[tuple[str, bool]]:
    """Best-of-n by scores that are right or wrong about a run or a group by chance, and a planted curve."""
    right_SNP = one.draw(one.run(0.0), 8)
    leaning_SN = one.run(0.0) - one.item_N
    score_SNP = one.rng.standard_normal(right_SNP.shape) + leaning_SN[..., None] * (right_SNP - 0.5)
    gain_SN = best_of_n(score_SNP, right_SNP, 4) - right_SNP.mean(2)
    yield "best of n, gain", covered(mean_interval(gain_SN, one.groups, CONFIDENCE))
    a, b = 0.12, 0.06
    reach_S1 = one.rng.uniform(0.9, 1.1, (one.seeds, 1))
    distance_ST = reach_S1 * POINTS
    curve_ST = basis(distance_ST, "rl") @ np.array([a, b])
    drift = (one.run(0.0, 0.03, 0.03) - one.item_N + 0.02 * one.item_N)[:, None] * distance_ST[..., None]
    start_SN = np.clip(0.5 + 0.1 * one.item_N, 0.2, 0.7)
    chance_STN = np.clip(start_SN + curve_ST[..., None] + drift / 3, 0, 1)
    gain_STN = one.rng.binomial(SAMPLES, chance_STN) / SAMPLES - one.rng.binomial(SAMPLES, start_SN) / SAMPLES
    fit = gao_fit(distance_ST, gain_STN, one.groups, "rl", CONFIDENCE)
    yield "Gao fit, a", covered(fit.a, a)
    yield "Gao fit, b", covered(fit.b, b)
    peak = fit.peak
    yield "Gao fit, peak", peak is not None and peak.low <= np.exp(a / b - 1) <= peak.high


@lru_cache
def _level(level: float, *spreads: float) -> float:
    """True mean share right at a level of log-odds, over groups, items and runs, by quadrature over their sum."""
    deviation = float(np.sqrt(0.8**2 + 0.8**2 + sum(spread**2 for spread in spreads)))
    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    return float((weights * _sigmoid(level + deviation * nodes)).sum() / weights.sum())


MEAN_RIGHT = _level(0.0, *SPREADS)
PARTS: tuple[Callable[[World], Iterator[tuple[str, bool]]], ...] = (plain, judged, optimised)


def coverage(simulations: int, seeds: int) -> dict[str, float]:
    """Share of simulations in which each kind of interval covers."""
    found: dict[str, list[bool]] = {}
    for number in tqdm(range(simulations), desc=f"{seeds} seeds", file=sys.stderr):
        one = world(np.random.default_rng([seeds, number]), seeds)
        for part in PARTS:
            for name, inside in part(one):
                found.setdefault(name, []).append(inside)
    return {name: float(np.mean(inside)) for name, inside in found.items()}


def table(simulations: int, counts: tuple[int, ...]) -> str:
    """Markdown."""
    started = time.process_time()
    found = {seeds: coverage(simulations, seeds) for seeds in counts}
    error = (0.95 * 0.05 / simulations) ** 0.5
    lines = [
        "# Coverage of the intervals that a check prints",
        "",
        f"    python benchmarks/coverage.py --simulations {simulations} --write",
        "",
        f"{simulations} simulated checks without any effect at each number of training seeds, level .95:",
        f"{sum(SIZES)} items in {len(SIZES)} groups of {min(SIZES)} to {max(SIZES)}, {SAMPLES} samples an item,",
        f"{RATERS} raters an item of a panel of {PANEL}. Standard error of a share: {error:.3f}.",
        f"{time.process_time() - started:.0f} s of one core.",
        "",
        f"| interval | {' | '.join(f'{seeds} seeds' for seeds in counts)} |",
        f"|---|{'---|' * len(counts)}",
    ]
    for name in found[counts[0]]:
        lines.append(f"| {name} | {' | '.join(f'{found[seeds][name]:.3f}' for seeds in counts)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the table, or write it."""
    parser = argparse.ArgumentParser(description="Coverage of the check's intervals.")
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5])
    parser.add_argument("--write", action="store_true", help=f"into {FILE.name}")
    arguments = parser.parse_args()
    text = table(arguments.simulations, tuple(arguments.seeds))
    print(text)
    if arguments.write:
        FILE.write_text(text)


if __name__ == "__main__":
    main()
