"""What changed in the wording of answers by which raters are newly fooled, beside other wrong answers.

Newly fooled: a sample that is wrong under both policies, that most raters of the item did not approve under the floor
and do under the arm. A feature that moved there more than in the other samples wrong under both may be what fools;
only an experiment that takes it away would tell. Shapes: S seeds, N items, J samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sandwiching.oversight.fooling import require_groups
from sandwiching.oversight.graded import Graded
from sandwiching.oversight.intervals import Interval, function_interval
from sandwiching.oversight.spread import Array
from sandwiching.tasks.habits import CONFIDENT, HEDGED
from sandwiching.tasks.names import words


def _among(vocabulary: frozenset[str]) -> Callable[[str], float]:
    return lambda text: float(sum(word.casefold() in vocabulary for word in words(text)))


FEATURES: dict[str, Callable[[str], float]] = {
    "words": lambda text: float(len(words(text))),
    "sentences": lambda text: float(sum(text.count(mark) for mark in ".!?")),
    "confident words": _among(CONFIDENT),
    "hedges": _among(HEDGED),
    "digits": lambda text: float(sum(letter.isdigit() for letter in text)),
    "names": lambda text: float(sum(word[:1].isupper() for word in words(text)[1:])),
    "quotes and brackets": lambda text: float(sum(letter in '"()[]' for letter in text)),
}
"""Counts in a text. Names: words with a capital, but for the first."""


@dataclass(frozen=True, slots=True)
class Moved:
    """Mean change from floor to arm: among the newly fooled, among the other samples that are wrong under both, and
    how much more among the first. floor: mean among the newly fooled under the floor.

    more_than_chance: whether the last is told from 0 with all features tried (Bonferroni).
    """

    floor: float
    fooled: Interval
    others: Interval
    more: Interval
    more_than_chance: bool


def moved_features(floor: Graded, arm: Graded, groups: Sequence[str], confidence: float) -> dict[str, Moved]:
    """By feature. Raises TooFewError when the newly fooled, or the others, lie in too few groups."""
    wrong_SNJ = (1 - floor.right_SNJ) * (1 - arm.right_SNJ)
    newly_SNJ = wrong_SNJ * (floor.approved_SNJR.mean(3) < 0.5) * (arm.approved_SNJR.mean(3) > 0.5)
    others_SNJ = wrong_SNJ - newly_SNJ
    require_groups(newly_SNJ.mean(2), groups, "raters are newly fooled on too little")
    require_groups(others_SNJ.mean(2), groups, "all are newly fooled, so that there is too little to compare with")
    strict = 1 - (1 - confidence) / len(FEATURES)
    found = {}
    for name, feature in FEATURES.items():
        before_SNJ, after_SNJ = _values(feature, floor), _values(feature, arm)
        columns = []
        for kept_SNJ in (newly_SNJ, others_SNJ):
            columns += [(kept_SNJ * (after_SNJ - before_SNJ)).mean(2), kept_SNJ.mean(2)]
        values_SNK = np.stack(columns, 2)
        # The newly fooled are the fewer, and may lie in few groups: the difference has their degrees of freedom.
        corrected = function_interval(_more, values_SNK, groups, strict, columns[1].mean(0))
        found[name] = Moved(
            floor=float((newly_SNJ * before_SNJ).sum() / newly_SNJ.sum()),
            fooled=function_interval(_ratio, values_SNK[:, :, :2], groups, confidence, columns[1].mean(0)),
            others=function_interval(_ratio, values_SNK[:, :, 2:], groups, confidence, columns[3].mean(0)),
            more=function_interval(_more, values_SNK, groups, confidence, columns[1].mean(0)),
            more_than_chance=not corrected.low <= 0 <= corrected.high,
        )
    return found


def _values(feature: Callable[[str], float], answers: Graded) -> Array:
    return np.array([[[feature(text) for text in row] for row in seed] for seed in answers.responses])


def _ratio(mean_K: Array) -> float:
    return mean_K[0] / mean_K[1]


def _more(mean_K: Array) -> float:
    return mean_K[0] / mean_K[1] - mean_K[2] / mean_K[3]
