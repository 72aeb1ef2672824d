"""Do the training and the held-out prompts come from one distribution? A classifier tries to tell them apart.

Area under its ROC curve (the classifier two-sample test of Lopez-Paz and Oquab, arXiv 1610.06545, with the area in
place of the accuracy): 0.5 where it cannot. Features are lengths and hashed character trigrams; it is a regularised
linear discriminant, cross-fitted over folds of groups, so that it learns no names that a group's prompts share.
Shapes: N texts, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from sandwiching.oversight.overlap import normalised
from sandwiching.oversight.spread import Array
from sandwiching.tasks.records import Prompt
from sandwiching.tasks.splits import rank

FOLDS = 5
BUCKETS = 256
RIDGE = 1.0
RESAMPLES = 400
MOST_PROMPTS = 2000
"""A side; of more, so many are chosen by hash."""


@dataclass(frozen=True, slots=True)
class Shift:
    """Area under the curve with its 95 % interval over groups. trained, held_out: prompts on each side."""

    area: float
    low: float
    high: float
    trained: int
    held_out: int


def features(texts: Sequence[str]) -> Array:
    """[N, D]: log of characters and of words, mean word length, and shares of hashed trigrams (square roots)."""
    rows = []
    for text in texts:
        words = text.split()
        counts = np.zeros(BUCKETS)
        padded = f" {text} "
        for at in range(len(padded) - 2):
            counts[crc32(padded[at : at + 3].encode()) % BUCKETS] += 1
        shares = np.sqrt(counts / max(1.0, counts.sum()))
        lengths = [np.log1p(len(text)), np.log1p(len(words)), len(text) / max(1, len(words))]
        rows.append(np.concatenate([lengths, shares]))
    return np.array(rows)


def area_under_curve(scores_N: Array, positive_N: np.ndarray) -> float:
    """P(a positive scores higher than a negative), ties half (Mann and Whitney)."""
    high, low = scores_N[positive_N], scores_N[~positive_N]
    ordered = np.sort(low)
    below = np.searchsorted(ordered, high, side="left") + np.searchsorted(ordered, high, side="right")
    return float(below.mean() / (2 * len(low)))


def cross_fitted(values_ND: Array, positive_N: np.ndarray, fold_N: np.ndarray) -> Array:
    """Each text's score [N] by a discriminant that was fitted on the other folds."""
    scores_N = np.zeros(len(values_ND))
    for fold in np.unique(fold_N):
        test_N = fold_N == fold
        train_ND, label_N = values_ND[~test_N], positive_N[~test_N]
        if label_N.all() or not label_N.any():
            continue
        scale_D = train_ND.std(axis=0) + 1e-9
        scaled_ND = (train_ND - train_ND.mean(axis=0)) / scale_D
        gap_D = scaled_ND[label_N].mean(axis=0) - scaled_ND[~label_N].mean(axis=0)
        within_ND = scaled_ND - np.where(label_N[:, None], 1, 0) * gap_D
        within_ND -= within_ND.mean(axis=0)
        spread_DD = within_ND.T @ within_ND / len(within_ND) + RIDGE * np.eye(len(gap_D))
        scored = ((values_ND[test_N] - train_ND.mean(axis=0)) / scale_D) @ np.linalg.solve(spread_DD, gap_D)
        scores_N[test_N] = scored
    return scores_N


def prompt_shift(trained: Sequence[Prompt], held_out: Sequence[Prompt], seed: int = 0) -> Shift | None:
    """None where a side has fewer than FOLDS groups."""
    sides = [_some(trained), _some(held_out)]
    if any(len({prompt.group for prompt in side}) < FOLDS for side in sides):
        return None
    prompts = [*sides[0], *sides[1]]
    positive_N = np.array([False] * len(sides[0]) + [True] * len(sides[1]))
    groups = np.array([f"{int(side)} {prompt.group}" for side, prompt in zip(positive_N, prompts, strict=True)])
    fold_N = np.zeros(len(prompts), dtype=int)
    for side in (False, True):
        names = sorted(set(groups[positive_N == side]), key=lambda name: rank("folds", name))
        place = {name: at % FOLDS for at, name in enumerate(names)}
        fold_N[positive_N == side] = [place[name] for name in groups[positive_N == side]]
    scores_N = cross_fitted(features([normalised(prompt.text) for prompt in prompts]), positive_N, fold_N)
    draws = _resampled(scores_N, positive_N, groups, np.random.default_rng(seed))
    low, high = np.quantile(draws, [0.025, 0.975])
    return Shift(area_under_curve(scores_N, positive_N), float(low), float(high), len(sides[0]), len(sides[1]))


def _resampled(scores_N: Array, positive_N: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> list[float]:
    """Areas of samples of groups, drawn with replacement on each side."""
    members = {name: np.flatnonzero(groups == name) for name in np.unique(groups)}
    names = {side: sorted(set(groups[positive_N == side])) for side in (False, True)}
    draws = []
    for _ in range(RESAMPLES):
        drawn = [members[name] for side in names for name in rng.choice(names[side], len(names[side]))]
        kept = np.concatenate(drawn)
        draws.append(area_under_curve(scores_N[kept], positive_N[kept]))
    return draws


def _some(prompts: Sequence[Prompt]) -> list[Prompt]:
    chosen = sorted(prompts, key=lambda prompt: rank("shift", prompt.id))[:MOST_PROMPTS]
    return sorted(chosen, key=lambda prompt: prompt.id)
