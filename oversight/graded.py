"""One policy's answers, judged twice: by gold and by weak raters who labelled nothing in training.

Shapes: S training seeds, N items, J samples of an item, R raters of an item.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sandwiching.oversight.outcomes import policy_name
from sandwiching.oversight.spread import Array


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares [S, N] of an item's samples: wrong; right and approved; wrong and approved."""

    wrong: Array
    approved_right: Array
    approved_wrong: Array

    @property
    def right(self) -> Array:
        """Share right [S, N]."""
        return 1 - self.wrong

    @property
    def approved(self) -> Array:
        """Share approved [S, N]."""
        return self.approved_right + self.approved_wrong

    def where(self, keep_N: Sequence[bool]) -> Shares:
        """Only the items marked in `keep_N`."""
        mask = np.asarray(keep_N, dtype=bool)
        return Shares(self.wrong[:, mask], self.approved_right[:, mask], self.approved_wrong[:, mask])


@dataclass(frozen=True, slots=True)
class Graded:
    """right_SNJ: 1 or 0 by gold; approved_SNJR: each rater's verdict against the anchor, 1, 0 or 1/2; responses
    [S][N][J]."""

    right_SNJ: Array
    approved_SNJR: Array
    responses: list[list[list[str]]]

    @property
    def shares(self) -> Shares:
        """Over samples and raters."""
        wrong_SNJ, approved_SNJ = 1 - self.right_SNJ, self.approved_SNJR.mean(3)
        return Shares(wrong_SNJ.mean(2), (self.right_SNJ * approved_SNJ).mean(2), (wrong_SNJ * approved_SNJ).mean(2))


def graded(record: Mapping[str, Any], name: str) -> Graded:
    """Floor or arm of the record of a check."""
    answers = [record["policies"][policy_name(name, seed)] for seed in record["seeds"]]
    return Graded(
        right_SNJ=np.array([one["correct"] for one in answers], dtype=float),
        approved_SNJR=np.array([one["approvals"] for one in answers], dtype=float),
        responses=[one["responses"] for one in answers],
    )
