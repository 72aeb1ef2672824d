"""Choices among candidates, the first being right: from log-probs of a policy as from wins of a rater. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence


def chosen_right(scores: Sequence[float]) -> float:
    """1 when the first candidate alone scores highest; with others level, its share of a draw among them."""
    best = max(scores)
    level = [score == best for score in scores]
    return level[0] / sum(level)


def pairs_right(scores: Sequence[float]) -> float:
    """Share of the wrong candidates that the first one beats, level ones half: choice from pairs, chance 1/2."""
    right = scores[0]
    return sum((right > other) + (right == other) / 2 for other in scores[1:]) / (len(scores) - 1)
