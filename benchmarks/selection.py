"""How often the interval of a chosen trial holds what the trial is worth, over simulated sweeps by an expert result.

    python benchmarks/selection.py [--simulations 1000] [--write]

200 items in 40 groups and one seed; groups differ in how hard they are for a trial. Each row is a sweep of trials with
these true shares right: the best one is taken, and its interval should hold its own true share in 93 to 97 %. `--write`
puts the table into benchmarks/results/selection.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sandwiching.oversight.selection import Selected, select

FILE = Path(__file__).parent / "results" / "selection.md"
ITEMS, EACH = 200, 5
GROUPS = [f"g{place // EACH}" for place in range(ITEMS)]
SWEEPS = {
    "2 equal trials": [0.5] * 2,
    "8 equal trials": [0.5] * 8,
    "20 equal trials": [0.5] * 20,
    "8 trials .01 apart": [0.5 + 0.01 * place for place in range(8)],
    "8 trials .02 apart": [0.5 + 0.02 * place for place in range(8)],
    "one of 8 ahead by .04": [0.5] * 7 + [0.54],
}


def swept(rng: np.random.Generator, truth: list[float]) -> Selected:
    """One sweep."""
    shared_KG = rng.normal(0, 0.05, (len(truth), ITEMS // EACH))
    chance_KN = np.clip(np.array(truth)[:, None] + np.repeat(shared_KG, EACH, axis=1), 0, 1)
    return select((rng.random(chance_KN.shape) < chance_KN).astype(float)[:, None], GROUPS)


def row(name: str, truth: list[float], simulations: int) -> str:
    """Bias of what the winner shows and of what is left, and how often their intervals hold the truth."""
    rng = np.random.default_rng(0)
    found = [swept(rng, truth) for _ in tqdm(range(simulations), desc=name, file=sys.stderr)]
    true = np.array([truth[one.best] for one in found])
    shown = np.array([(one.shown.estimate, one.shown.low, one.shown.high) for one in found])
    left = np.array([(one.corrected, one.low, one.high) for one in found])
    cells = []
    for values in (shown, left):
        held = (values[:, 1] <= true) & (true <= values[:, 2])
        cells += [f"{np.mean(values[:, 0] - true):+.3f}", f"{held.mean():.3f}"]
    return f"| {name} | {' | '.join(cells)} |"


def table(simulations: int) -> str:
    """Markdown."""
    started = time.process_time()
    rows = [row(name, truth, simulations) for name, truth in SWEEPS.items()]
    error = (0.95 * 0.05 / simulations) ** 0.5
    lines = [
        "# The best of k trials by an expert result",
        "",
        f"    python benchmarks/selection.py --simulations {simulations} --write",
        "",
        f"{simulations} simulated sweeps each, level .95; {ITEMS} items in {ITEMS // EACH} groups, one seed.",
        f"Standard error of a share: {error:.3f}. {time.process_time() - started:.0f} s of one core.",
        "",
        "| sweep | shown, bias | its interval holds the truth | corrected, bias | its interval holds the truth |",
        "|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *rows]) + "\n"


def main() -> None:
    """Print the table, or write it."""
    parser = argparse.ArgumentParser(description="Coverage of a chosen trial's interval.")
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--write", action="store_true", help=f"into {FILE.name}")
    arguments = parser.parse_args()
    text = table(arguments.simulations)
    print(text)
    if arguments.write:
        FILE.write_text(text)


if __name__ == "__main__":
    main()
