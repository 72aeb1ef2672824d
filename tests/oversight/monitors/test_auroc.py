"""AUROC against the count over all pairs; intervals against what they must cover."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandwiching.oversight.intervals import mean_interval
from sandwiching.oversight.monitors.auroc import UndefinedError, auroc_by_item

VALUES = st.sampled_from([-math.inf, -1e30, -1.0, 0.0, 0.5, 1.0, 1e30, math.inf])
SAMPLES = st.lists(st.tuples(VALUES, st.booleans(), st.booleans()), min_size=2, max_size=24)


def by_pairs(scores: list[float], kinds: list[bool]) -> float:
    """Every positive against every negative, ties half."""
    wins = [
        1.0 if a > b else 0.5 if a == b else 0.0
        for a, one in zip(scores, kinds, strict=True)
        if one
        for b, other in zip(scores, kinds, strict=True)
        if not other
    ]
    return sum(wins) / len(wins)


@given(SAMPLES)
def test_it_is_the_share_of_pairs_told_apart(samples: list[tuple[float, bool, bool]]) -> None:
    rows = samples + samples[: len(samples) % 2]
    scores, kinds, counted = (np.array(column).reshape(-1, 2) for column in zip(*rows, strict=True))
    kept = [(score, kind) for score, kind, count in rows if count]
    if len({kind for _, kind in kept}) < 2:
        with pytest.raises(UndefinedError, match="of the kind looked for"):
            auroc_by_item(scores, kinds, counted)
        return
    expected = by_pairs([score for score, _ in kept], [kind for _, kind in kept])
    assert auroc_by_item(scores, kinds, counted).mean() == pytest.approx(expected, abs=1e-12)


def test_what_is_not_a_number_is_said() -> None:
    with pytest.raises(UndefinedError, match="1 of 4 values are not numbers"):
        auroc_by_item(np.array([[1.0, math.nan], [2.0, 3.0]]), np.array([[True, False], [False, True]]))
    # Of samples that do not count nothing is asked.
    counted = np.array([[True, False], [True, True]])
    assert (
        auroc_by_item(np.array([[1.0, math.nan], [2.0, 3.0]]), np.array([[True] * 2, [False] * 2]), counted).mean() == 0
    )


def test_intervals_cover_the_area() -> None:
    """Two normals a deviation apart, items of a group alike: the area is Phi(1 / sqrt 2)."""
    rng, truth, covered = np.random.default_rng(0), 0.760250, 0
    groups = [f"g{place // 2}" for place in range(60)]
    for _ in range(300):
        kinds = rng.random((60, 3)) < 0.4
        shared = np.repeat(rng.normal(0, math.sqrt(0.5), 30), 2)[:, None]
        scores = kinds + shared + rng.normal(0, math.sqrt(0.5), (60, 3))
        found = mean_interval(auroc_by_item(scores, kinds)[None], groups, 0.95)
        covered += found.low <= truth <= found.high
    assert 0.91 <= covered / 300 <= 0.985
