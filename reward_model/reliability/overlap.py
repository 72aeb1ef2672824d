"""Which raters share pairs: only there can anything be learned of them.

Shapes: E votes, P pairs, K raters, N entries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sandwiching.reward_model.reliability.votes import Floats, Ints, Votes, totals

CHUNK = 4_000_000
"""Products of votes on one pair that are made at once."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """shared_K: a rater's pairs that others judged too; partners_K: others met there. `components`: parts of the panel
    that share no pair with each other, of raters who share any. `effective_raters`: (sum of votes)^2 / sum of squares,
    so that one busy rater does not pass for many."""

    shared_K: Ints
    partners_K: Ints
    components: int
    effective_raters: float
    shared_pairs: int


def overlap(votes: Votes) -> Overlap:
    """Counted from the votes alone."""
    ones_E = np.ones(len(votes))
    count_P, count_K = votes.by_pair(ones_E), votes.by_rater(ones_E)
    shared_K = votes.by_rater(count_P[votes.pair_E] > 1).astype(np.int64)
    keys = [np.unique(votes.rater_E[a] * votes.raters + votes.rater_E[b]) for a, b in together(votes)]
    key_N = np.unique(np.concatenate(keys)) if keys else np.zeros(0, dtype=np.int64)
    one_N, other_N = key_N // votes.raters, key_N % votes.raters
    partners_K = np.bincount(one_N[one_N != other_N], minlength=votes.raters)
    squares = float((count_K**2).sum())
    return Overlap(
        shared_K=shared_K,
        partners_K=partners_K,
        components=_components(one_N, other_N, shared_K),
        effective_raters=float(count_K.sum() ** 2 / squares) if squares else 0.0,
        shared_pairs=int((count_P > 1).sum()),
    )


def _components(one_N: Ints, other_N: Ints, shared_K: Ints) -> int:
    """Connected parts: every rater takes the lowest code it can reach, and shortens its way there."""
    lowest_K = np.arange(len(shared_K))
    while True:
        new_K = lowest_K.copy()
        np.minimum.at(new_K, one_N, lowest_K[other_N])
        new_K = new_K[new_K]
        if (new_K == lowest_K).all():
            return len(np.unique(lowest_K[shared_K > 0]))
        lowest_K = new_K


def together(votes: Votes, width: int = 1) -> Iterator[tuple[Ints, Ints]]:
    """Indexes of all two votes on one pair, in both orders and each with itself, a bounded number at a time.

    width: numbers that the caller makes of each, for the bound.
    """
    order_E = np.argsort(votes.pair_E, kind="stable")
    counts_P = np.bincount(votes.pair_E, minlength=votes.pairs)
    starts_P = np.cumsum(counts_P) - counts_P
    for chosen in _chunks(counts_P, width):
        squares_P = counts_P[chosen] ** 2
        width_N = np.repeat(counts_P[chosen], squares_P)
        within_N = np.arange(squares_P.sum()) - np.repeat(np.cumsum(squares_P) - squares_P, squares_P)
        start_N = np.repeat(starts_P[chosen], squares_P)
        yield order_E[start_N + within_N // width_N], order_E[start_N + within_N % width_N]


def _chunks(counts_P: Ints, width: int) -> list[slice]:
    """Consecutive pairs with about CHUNK numbers at most, or one pair."""
    part_P = np.cumsum(width * counts_P**2) // CHUNK
    edges = [0, *(np.flatnonzero(np.diff(part_P)) + 1).tolist(), len(counts_P)]
    return [slice(low, high) for low, high in pairwise(edges) if high > low]


def summed(key_N: Ints, value_N: Floats) -> tuple[Ints, Floats]:
    """The distinct keys, and the sum of the values of each."""
    unique_N, index_N = np.unique(key_N, return_inverse=True)
    return unique_N, totals(index_N, value_N, len(unique_N))
