"""Which of several checks is the best by a measure, with the choice taken into account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sandwiching.oversight.outcomes import outcomes
from sandwiching.oversight.selection import Selected, select
from sandwiching.oversight.spread import Array


def selected_of(records: Sequence[Mapping[str, Any]], metric: str, *, largest: bool, confidence: float) -> Selected:
    """records: of each trial's check, with its items; metric: check/ARM/MEASURE.

    Raises ValueError when they are not of the same items.
    """
    _, arm, measure = metric.split("/")
    found = [_of(record, arm, measure) for record in records]
    groups = found[0][1]
    if any(other != groups for _, other in found):
        raise ValueError(f"sweep.metric={metric}: the trials were checked on different items; a choice needs the same")
    return select(np.stack([values_SN for values_SN, _ in found]), groups, largest=largest, confidence=confidence)


def _of(record: Mapping[str, Any], arm: str, measure: str) -> tuple[Array, list[str]]:
    """Outcomes [S, N] and the items' groups: of policies, or of reward models (measure agreement)."""
    if measure == "agreement":
        return np.array(record["outcomes"][arm]), [pair["group"] for pair in record["pairs"]]
    all_of = outcomes(record)
    return all_of.policies[arm][measure], all_of.groups
