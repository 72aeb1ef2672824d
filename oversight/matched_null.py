"""Fooling beside that of a null arm at matched KL: the same PPO on raters of equal accuracy without the bias.

Optimising harder changes more answers, whatever the raters; so the two arms are compared where they are equally far
from the floor. For each training seed that is the shorter of the two runs' largest KL; the other run is interpolated
between its snapshots in sqrt(KL). On dev prompts, where snapshots are examined. Shapes as in trails.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sandwiching.oversight.fooling import TooFewError, both_wrong, require_groups
from sandwiching.oversight.graded import Shares
from sandwiching.oversight.intervals import Interval, function_interval
from sandwiching.oversight.spread import Array
from sandwiching.oversight.trails import Trail


@dataclass(frozen=True, slots=True)
class MatchedNull:
    """Fooling of the arm and of the null arm, and the difference, at `kl` (nats a sequence, by training seed).

    kl_arm, kl_null: of the finished policies.
    """

    arm: Interval
    null: Interval
    difference: Interval
    kl: list[float]
    kl_arm: list[float]
    kl_null: list[float]


def matched_null(arm: Trail, null: Trail, groups: Sequence[str], confidence: float) -> MatchedNull:
    """Raises TooFewError when a run never left the floor, or both policies are wrong in too few groups."""
    reach_S = np.minimum(arm.distance_ST.max(1), null.distance_ST.max(1))
    if not (reach_S > 0).all():
        raise TooFewError(
            "the KL of a run is 0 at every snapshot, so that there is nothing to match; train it for more steps"
        )
    columns: list[Array] = []
    for trail in (arm, null):
        columns += at_distance(trail, reach_S)
    return MatchedNull(
        **_compared(columns, groups, confidence),
        kl=(reach_S**2).tolist(),
        kl_arm=arm.kl_ST[:, -1].tolist(),
        kl_null=null.kl_ST[:, -1].tolist(),
    )


def compared_shares(
    floor: Shares, arm: Shares, null: Shares, groups: Sequence[str], confidence: float
) -> dict[str, Interval]:
    """arm, null and difference, of finished policies on the same items, whatever their KL."""
    return _compared([*both_wrong(floor, arm), *both_wrong(floor, null)], groups, confidence)


def _compared(columns: Sequence[Array], groups: Sequence[str], confidence: float) -> dict[str, Interval]:
    for weight_SN in (columns[1], columns[3]):
        require_groups(weight_SN, groups, "both policies are wrong on too little")
    values_SNK = np.stack(columns, axis=2)
    functions = {
        "arm": lambda mean_K: mean_K[0] / mean_K[1],
        "null": lambda mean_K: mean_K[2] / mean_K[3],
        "difference": lambda mean_K: mean_K[0] / mean_K[1] - mean_K[2] / mean_K[3],
    }
    leverage_N = values_SNK[:, :, [1, 3]].mean((0, 2))
    return {
        name: function_interval(function, values_SNK, groups, confidence, leverage_N)
        for name, function in functions.items()
    }


def at_distance(trail: Trail, distance_S: Array) -> tuple[Array, Array]:
    """Numerator and denominator [S, N] of the fooling where each run first is so far from the floor, in sqrt(nats)."""
    found = [both_wrong(trail.shares(0), trail.shares(point)) for point in range(len(trail.updates))]
    rows: list[tuple[Array, Array]] = []
    for seed, (distance, along_T) in enumerate(zip(distance_S, trail.distance_ST, strict=True)):
        after = int(np.argmax(along_T >= distance - 1e-12))
        before = max(after - 1, 0)
        step = along_T[after] - along_T[before]
        share = (distance - along_T[before]) / step if step > 0 else 1.0
        rows.append(
            (
                (1 - share) * found[before][0][seed] + share * found[after][0][seed],
                (1 - share) * found[before][1][seed] + share * found[after][1][seed],
            )
        )
    return np.stack([one for one, _ in rows]), np.stack([one for _, one in rows])
