"""How often each kind of interval that is printed covers what is true, over simulated checks without any effect.

    python benchmarks/coverage.py [--simulations 1000] [--write]

In every simulation the arm is as the floor, in distribution, the null arm as the arm, experts as weak raters, and a
monitor as length; levels, ratios and slopes have a true value that is known (coverage_worlds.py). A row covers when 0,
or that value, lies inside. `--write` puts the table into benchmarks/results/coverage.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from coverage_worlds import (
    PANEL,
    POINTS,
    RATERS,
    SAMPLES,
    SIZES,
    SPREADS,
    World,
    answers,
    asked,
    mean_share,
    trail_of,
    votes,
    world,
)
from tqdm import tqdm

from sandwiching.oversight.best_of_n import best_of_n
from sandwiching.oversight.competence import competence_slope
from sandwiching.oversight.fooling import decompose, fooling
from sandwiching.oversight.intervals import Interval, mean_interval, share_interval
from sandwiching.oversight.matched_null import compared_shares, matched_null
from sandwiching.oversight.monitors.auroc import auroc_by_item
from sandwiching.oversight.monitors.slope import slope_by_item
from sandwiching.oversight.over_optimisation import basis, gao_fit
from sandwiching.oversight.recovery import gap_recovered
from sandwiching.oversight.spread import Array
from sandwiching.oversight.transitions import STATES, transitions
from sandwiching.oversight.weak_gap import weak_gap

FILE = Path(__file__).parent / "results" / "coverage.md"
CONFIDENCE = 0.95
MEAN_RIGHT = mean_share(0.0, *SPREADS)
MEAN_KL = float(np.exp((0.8**2 + 0.8**2 + sum(spread**2 for spread in SPREADS)) / 8))
FEW = -3.7
"""Log-odds of what is rare: one sample in twenty."""
MOVES = ((STATES[2], STATES[2]), (STATES[3], STATES[2]), (STATES[0], STATES[3]))
"""Of transitions: what stays, what is fooled, what is lost."""


def covered(interval: Interval, truth: float = 0.0) -> bool:
    """Whether the truth lies inside."""
    return interval.low <= truth <= interval.high


def plain(one: World) -> Iterator[tuple[str, bool]]:
    """Levels, paired differences, and PGR of which the true value is .5."""
    first, second = (one.draw(one.run(0.0), SAMPLES).mean(2) for _ in range(2))
    yield "share", covered(share_interval(first, one.groups, CONFIDENCE), MEAN_RIGHT)
    yield "paired difference", covered(mean_interval(second - first, one.groups, CONFIDENCE))
    majority_N = one.draw(one.run(0.0, seed_spread=0.0)[0], SAMPLES).mean(1)
    yield "paired difference from what has no seeds", covered(mean_interval(first - majority_N, one.groups, CONFIDENCE))
    kl_SN = (np.exp(one.run(0.0) / 2)[..., None] * one.rng.exponential(size=(*first.shape, SAMPLES))).mean(2)
    yield "mean KL", covered(mean_interval(kl_SN, one.groups, CONFIDENCE), MEAN_KL)
    line_N = one.draw(-0.3 + one.item_N, 2).mean(1)
    yield "rater line", covered(share_interval(line_N[None], one.groups, CONFIDENCE), mean_share(-0.3))
    record = {"pairs": votes(one), "outcomes": {}, "confidence": CONFIDENCE}
    gap = weak_gap(record).gap
    yield "gap between weak raters and experts", gap is not None and covered(gap)
    line_level, ceiling_level = mean_share(-0.3), mean_share(0.9, *SPREADS)
    ceiling = one.draw(one.run(0.9), 1)[..., 0]
    arm = one.draw(one.run(0.3), 1)[..., 0]
    truth = (mean_share(0.3, *SPREADS) - line_level) / (ceiling_level - line_level)
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
    along, along_null = (trail_of(one, panel, skill, floor) for _ in range(2))
    near = matched_null(along, along_null, groups, CONFIDENCE)
    yield "fooling at a matched KL", covered(near.arm)
    yield "the same less the null arm's", covered(near.difference)
    moves = transitions(floor, arm, groups, CONFIDENCE)
    for (before, after), truth in zip(MOVES, mean_moves(), strict=True):
        yield f"transition, {before} -> {after}", covered(moves[before][after], truth)
    slope = competence_slope(floor, arm, panel, groups, CONFIDENCE)
    yield "slope over competence", covered(slope.slope)
    yield "fooling of a third of the raters", covered(slope.thirds["middle"].change)


@lru_cache
def mean_moves(simulations: int = 2000) -> list[float]:
    """True shares of MOVES: means over other simulations."""
    found = []
    for number in range(simulations):
        one = world(np.random.default_rng([0, number]), 3)
        panel, skill = asked(one)
        moves = transitions(answers(one, panel, skill), answers(one, panel, skill), one.groups, CONFIDENCE)
        found.append([moves[before][after].estimate for before, after in MOVES])
    return np.mean(found, axis=0).tolist()


def optimised(one: World) -> Iterator[tuple[str, bool]]:
    """Best-of-n by scores that are right or wrong about a run or a group by chance, and a planted curve."""
    right_SNP = one.draw(one.run(0.0), 8)
    score_SNP = one.rng.standard_normal(right_SNP.shape) + one.leaning(0.0) * (right_SNP - 0.5)
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


def monitored(one: World) -> Iterator[tuple[str, bool]]:
    """A monitor that says nothing but by chance, two that say as much as each other, and a slope that is known."""
    positive_SNJ = one.draw(one.run(-1.0), SAMPLES) > 0
    counted_SNJ = one.draw(one.run(1.0), SAMPLES) > 0
    useless_SNJ, own_SNJ, length_SNJ = (one.scores() + one.leaning(lean) * positive_SNJ for lean in (0, 0.7, 0.7))
    groups = one.groups

    def areas(scores_SNJ: Array) -> Array:
        return np.stack([auroc_by_item(*both) for both in zip(scores_SNJ, positive_SNJ, strict=True)])

    yield "AUROC", covered(share_interval(areas(useless_SNJ), groups, CONFIDENCE), 0.5)
    among = [auroc_by_item(*three) for three in zip(useless_SNJ, positive_SNJ, counted_SNJ, strict=True)]
    yield "AUROC among some", covered(share_interval(np.stack(among), groups, CONFIDENCE), 0.5)
    yield "AUROC less that of length", covered(mean_interval(areas(own_SNJ) - areas(length_SNJ), groups, CONFIDENCE))
    flagged_SN = one.draw(one.run(FEW), SAMPLES).mean(2)
    yield "share flagged", covered(share_interval(flagged_SN, groups, CONFIDENCE), mean_share(FEW, *SPREADS))
    lengths_SNJ = one.scores()
    rewards_SNJ = 0.3 * lengths_SNJ + one.scores()
    slope_SN = np.stack([slope_by_item(*both) for both in zip(lengths_SNJ, rewards_SNJ, strict=True)])
    yield "proxy-length slope", covered(mean_interval(slope_SN, groups, CONFIDENCE), 0.3)
    alike = areas(one.scores())
    yield "AUROC, all runs and groups alike", covered(share_interval(alike, groups, CONFIDENCE), 0.5)


PARTS: tuple[Callable[[World], Iterator[tuple[str, bool]]], ...] = (plain, judged, optimised, monitored)


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
