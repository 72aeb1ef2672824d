"""What a check found beyond its rows: fooling, the three PGRs, best-of-n, and gold and proxy against KL.

What cannot be said is in `missing`, by the place where it would stand, with what would help.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from sandwiching.oversight.best_of_n import BestOfN, Pool, best_of_n, best_of_n_rows, kl_bound, pool, sizes
from sandwiching.oversight.competence import CompetenceSlope, competence_slope, panel
from sandwiching.oversight.fooling import Decomposition, Fooling, TooFewError, decompose, fooling
from sandwiching.oversight.graded import Graded, graded
from sandwiching.oversight.intervals import Interval
from sandwiching.oversight.matched_null import MatchedNull, compared_shares, matched_null
from sandwiching.oversight.outcomes import FLOOR
from sandwiching.oversight.over_optimisation import GaoFit, gao_fit
from sandwiching.oversight.recovery import Stage, stages
from sandwiching.oversight.trails import Trail, trail
from sandwiching.oversight.transitions import Transitions, transitions
from sandwiching.oversight.wording import Moved, moved_features

T = TypeVar("T")


@dataclass(slots=True)
class ArmFooling:
    """All that is said of fooling in one arm; None, or absent, where `missing` says why.

    cells: by cell of the knowledge table. null: at matched KL, on dev prompts; finished: the finished policies on the
    check's prompts, whose KLs are in the rows: arm, null and difference.
    """

    fooling: Fooling | None = None
    cells: dict[str, Fooling] = field(default_factory=dict)
    decomposition: Decomposition | None = None
    transitions: Transitions = field(default_factory=dict)
    slope: CompetenceSlope | None = None
    wording: dict[str, Moved] = field(default_factory=dict)
    null: MatchedNull | None = None
    finished: dict[str, Interval] = field(default_factory=dict)


@dataclass(slots=True)
class Findings:
    """By arm. recovered: labels and reward models, by the name of the stage; fits: by what was fitted."""

    fooling: dict[str, ArmFooling] = field(default_factory=dict)
    recovered: dict[str, Stage] = field(default_factory=dict)
    best_of_n: dict[str, list[BestOfN]] = field(default_factory=dict)
    fits: dict[str, dict[str, GaoFit]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def attempt(self, place: str, compute: Callable[[], T]) -> T | None:
        """The result, or None with the reason in `missing` where there is too little to go by."""
        try:
            return compute()
        except TooFewError as reason:
            self.missing[place] = str(reason)
            return None


def find(record: Mapping[str, Any], trails: Mapping[str, Any]) -> Findings:
    """All findings of a check: its record and its trails, with all items (check.py)."""
    confidence, groups = record["confidence"], [item["group"] for item in record["items"]]
    found = Findings(recovered=stages(record, confidence))
    along = {arm: trail(trails, arm) for arm in record["arms"]}
    for arm in record["arms"]:
        chosen = pool(record, arm)
        found.best_of_n[arm] = best_of_n_rows(chosen, groups, confidence)
        found.fits[arm] = _fits(found, arm, chosen, along[arm], groups, trails["groups"], confidence)
    if record["no_fooling"] is not None:
        found.missing["fooling"] = record["no_fooling"]
        return found
    for arm in record["arms"]:
        found.fooling[arm] = _arm_fooling(found, record, arm, along, trails["groups"])
    return found


def _fits(
    found: Findings,
    arm: str,
    chosen: Pool,
    along: Trail,
    groups: Sequence[str],
    dev_groups: Sequence[str],
    confidence: float,
) -> dict[str, GaoFit]:
    """Of PPO along its snapshots on dev prompts, and of best-of-n on the check's prompts."""
    curves = {"proxy": along.reward_STN, "gold, forced": along.forced_STN, "gold, free": 1 - along.wrong_STN}
    counts = [n for n in sizes(chosen.score.shape[-1]) if n > 1]
    distance_ST = np.tile([kl_bound(n) ** 0.5 for n in counts], (len(chosen.score), 1))
    fits: dict[str, GaoFit | None] = {}
    for name, values_STN in curves.items():
        gain_STN = values_STN[:, 1:] - values_STN[:, :1]
        fits[f"PPO, {name}"] = found.attempt(
            f"{arm}: fit of PPO, {name}",
            lambda gain_STN=gain_STN: gao_fit(along.distance_ST[:, 1:], gain_STN, dev_groups, "rl", confidence),
        )
    for name, value_SNP in {"proxy": chosen.score, "gold, free": chosen.right}.items():
        best = [best_of_n(chosen.score, value_SNP, n) - value_SNP.mean(2) for n in counts]
        fits[f"best of n, {name}"] = found.attempt(
            f"{arm}: fit of best of n, {name}",
            lambda best=best: gao_fit(distance_ST, np.stack(best, axis=1), groups, "best of n", confidence),
        )
    return {name: fit for name, fit in fits.items() if fit is not None}


def _arm_fooling(
    found: Findings, record: Mapping[str, Any], arm: str, along: Mapping[str, Trail], dev_groups: Sequence[str]
) -> ArmFooling:
    confidence, groups = record["confidence"], [item["group"] for item in record["items"]]
    floor, own, asked = graded(record, FLOOR), graded(record, arm), panel(record)

    def attempt(what: str, compute: Callable[[], T]) -> T | None:
        return found.attempt(f"{arm}: {what}", compute)

    whole = ArmFooling(
        fooling=attempt("fooling", lambda: fooling(floor.shares, own.shares, groups, confidence)),
        decomposition=attempt("decomposition", lambda: decompose(floor.shares, own.shares, groups, confidence)),
        transitions=transitions(floor, own, groups, confidence) if len(set(groups)) > 1 else {},
        slope=attempt("slope over competence", lambda: competence_slope(floor, own, asked, groups, confidence)),
        wording=attempt("wording", lambda: moved_features(floor, own, groups, confidence)) or {},
    )
    cells = [item["cell"] for item in record["items"]]
    for cell in sorted(set(cells)) if len(set(cells)) > 1 else []:
        kept = [one == cell for one in cells]
        own_groups = [group for group, stays in zip(groups, kept, strict=True) if stays]
        split = attempt(
            f"fooling in {cell}",
            lambda kept=kept, own_groups=own_groups: fooling(
                floor.shares.where(kept), own.shares.where(kept), own_groups, confidence
            ),
        )
        whole.cells |= {cell: split} if split is not None else {}
    _against_null(found, whole, record, arm, (floor, own), along, dev_groups)
    return whole


def _against_null(
    found: Findings,
    whole: ArmFooling,
    record: Mapping[str, Any],
    arm: str,
    answers: tuple[Graded, Graded],
    along: Mapping[str, Trail],
    dev_groups: Sequence[str],
) -> None:
    null, confidence = record["null_arm"], record["confidence"]
    if null is None:
        found.missing["null arm"] = (
            "fooling has no null to stand against: add an arm trained on raters of equal accuracy without the bias, "
            "and name it in check.null_arm"
        )
        return
    if arm in (null, record["ceiling"]):
        return
    groups, other = [item["group"] for item in record["items"]], graded(record, null)
    whole.null = found.attempt(
        f"{arm}: null at matched KL", lambda: matched_null(along[arm], along[null], dev_groups, confidence)
    )
    whole.finished = (
        found.attempt(
            f"{arm}: null",
            lambda: compared_shares(answers[0].shares, answers[1].shares, other.shares, groups, confidence),
        )
        or {}
    )
