"""Where answers go from floor to arm: right or wrong, approved or not, sample by sample and rater by rater.

Sample j of a prompt has the same noise under both policies and meets the same raters, so that it is one answer that
changed. Half an approval in both (a tie) stays where it is: the joint shares are those of the closest coupling.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from sandwiching.oversight.graded import Graded
from sandwiching.oversight.intervals import Interval, share_interval
from sandwiching.oversight.spread import Array

STATES = ("right, approved", "right, not approved", "wrong, approved", "wrong, not approved")
Transitions = dict[str, dict[str, Interval]]


def transitions(floor: Graded, arm: Graded, groups: Sequence[str], confidence: float) -> Transitions:
    """Share of answers by state under the floor, then by state under the arm; all shares add up to 1."""
    joint = _approval_joint(floor.approved_SNJR, arm.approved_SNJR)
    truth = {"right": (floor.right_SNJ, arm.right_SNJ), "wrong": (1 - floor.right_SNJ, 1 - arm.right_SNJ)}
    found: Transitions = {state: {} for state in STATES}
    for before, after in product(STATES, STATES):
        (truth_before, approved_before), (truth_after, approved_after) = before.split(", "), after.split(", ")
        both_SNJ = truth[truth_before][0] * truth[truth_after][1]
        share_SN = (both_SNJ * joint[approved_before == "approved", approved_after == "approved"]).mean(2)
        found[before][after] = share_interval(share_SN, groups, confidence)
    return found


def _approval_joint(floor_SNJR: Array, arm_SNJR: Array) -> dict[tuple[bool, bool], Array]:
    """P(approved under floor, approved under arm) [S, N, J], mean over raters."""
    both = np.minimum(floor_SNJR, arm_SNJR)
    parts = {
        (True, True): both,
        (True, False): floor_SNJR - both,
        (False, True): arm_SNJR - both,
        (False, False): 1 - floor_SNJR - arm_SNJR + both,
    }
    return {key: part.mean(3) for key, part in parts.items()}
