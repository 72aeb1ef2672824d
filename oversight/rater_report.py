"""All that a file of judgements says of its raters: whether they carry a signal, who is worth what, and where the file
holds experts, whether that is so. Torch-free: `sandwich raters report` answers at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sandwiching.oversight.label_check import LabelCheck, check_labels
from sandwiching.oversight.summary import jsonable
from sandwiching.reward_model.reliability.gate import Gate, judge_signal
from sandwiching.reward_model.reliability.models import MODELS
from sandwiching.reward_model.reliability.overlap import Overlap, overlap
from sandwiching.reward_model.reliability.records import Reliability
from sandwiching.tasks.records import Judgement, Tier
from sandwiching.training.vote_table import VoteTable, vote_table

SHOWN_MODEL = "one_coin"
"""Whose skills a rater's row leads with."""


@dataclass(frozen=True, slots=True)
class RaterReport:
    """`tier`: whose votes were modelled, in `table`; models and checks by name; checks None without experts.

    seconds: of one core, by part.
    """

    tier: Tier
    table: VoteTable
    gate: Gate
    permutations: int
    overlap: Overlap
    models: dict[str, Reliability]
    checks: dict[str, LabelCheck] | None
    seconds: dict[str, float]


def report_on(
    judgements: Sequence[Judgement], *, permutations: int, max_p: float, seed: int, confidence: float
) -> RaterReport:
    """Of the weak raters, or of the experts where the file has no others. Raises ValueError without judgements."""
    if not judgements:
        raise ValueError("there are no judgements to report on")
    seconds: dict[str, float] = {}
    whole = _timed(seconds, "votes", lambda: vote_table(judgements))
    tier: Tier = "weak" if "weak" in whole.tier_K else "expert"
    table, experts = whole.of_tier(tier), whole.of_tier("expert")
    gate = _timed(
        seconds,
        "gate",
        lambda: judge_signal(
            table.votes,
            table.group_code_P,
            table.score_first_E,
            table.score_second_E,
            permutations=permutations,
            max_p=max_p,
            seed=seed,
        ),
    )
    models = {name: _timed(seconds, name, lambda fit=fit: fit(table.votes)) for name, fit in MODELS.items()}
    checks = check_labels(table.votes, experts.votes, table.group_P, models, confidence) if tier == "weak" else None
    return RaterReport(tier, table, gate, permutations, overlap(table.votes), models, checks, seconds)


def _timed(seconds: dict[str, float], name: str, work: Callable[[], Any]) -> Any:
    started = time.process_time()
    result = work()
    seconds[name] = time.process_time() - started
    return result


def as_json(report: RaterReport) -> dict[str, Any]:
    """{gate, raters, models}, with null for what is not defined."""
    return jsonable({"gate": _gate(report), "raters": rater_rows(report), "models": _models(report)})


def _gate(report: RaterReport) -> dict[str, Any]:
    votes = report.table.votes
    return {
        **asdict(report.gate),
        "tier": report.tier,
        "votes": len(votes),
        "raters": votes.raters,
        "pairs": len(np.unique(votes.pair_E)),
        "ties": float((votes.sign_E == 0).mean()),
        "repeated": report.table.repeated,
        "permutations": report.permutations,
        "shared_pairs": report.overlap.shared_pairs,
        "components": report.overlap.components,
        "effective_raters": report.overlap.effective_raters,
        "skill": {name: {"mean": model.mean, "spread": model.spread} for name, model in report.models.items()},
        "seconds": report.seconds,
    }


def rater_rows(report: RaterReport) -> list[dict[str, Any]]:
    """One row a rater, the best first: skill by SHOWN_MODEL with its 95 % interval, and the other models' below."""
    votes, table, shown = report.table.votes, report.table, report.models[SHOWN_MODEL]
    count_K, ties_K = votes.by_rater(np.ones(len(votes))), votes.by_rater(votes.sign_E == 0)
    rows = []
    for k in np.argsort(-shown.skill_K, kind="stable").tolist():
        rows.append(
            {
                "rater": table.rater_names[k],
                "tier": table.tier_K[k],
                "votes": int(count_K[k]),
                "ties": int(ties_K[k]),
                "shared_pairs": int(report.overlap.shared_K[k]),
                "partners": int(report.overlap.partners_K[k]),
                **_skill(shown, k),
                "models": {name: _skill(model, k) for name, model in report.models.items()},
            }
        )
    return rows


def _skill(model: Reliability, k: int) -> dict[str, Any]:
    return {
        "skill": float(model.skill_K[k]),
        "low": float(model.low_K[k]),
        "high": float(model.high_K[k]),
        "effective_votes": float(model.effective_K[k]),
        "trusted": bool(model.trusted_K[k]),
        "adversary": bool(model.adversary_K[k]),
    }


def _models(report: RaterReport) -> dict[str, Any]:
    checks: Mapping[str, LabelCheck] = report.checks or {}
    return {
        name: {
            "skill_mean": model.mean,
            "skill_spread": model.spread,
            "trusted": int(model.trusted_K.sum()),
            "adversaries": int(model.adversary_K.sum()),
            "seconds": report.seconds[name],
            **(asdict(checks[name]) if name in checks else dict.fromkeys(LabelCheck.__dataclass_fields__)),
        }
        for name, model in report.models.items()
    }
