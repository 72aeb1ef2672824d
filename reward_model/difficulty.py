"""Where a reward model agrees with weak raters: by how clearly they voted, and by what they are worth.

Shapes: N texts, E judgements, P pairs.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sandwiching.reward_model.calibration import calibration
from sandwiching.reward_model.columns import JudgementColumns
from sandwiching.reward_model.evaluate import summarise
from sandwiching.reward_model.reliability.one_coin import one_coin
from sandwiching.reward_model.reliability.votes import Floats, Votes

MOST_LEAD = 5
"""Pairs decided by so many votes or more are counted together."""
QUARTILES = 4


def difficulty(scores_N: Tensor, train: JudgementColumns, dev: JudgementColumns) -> dict[str, Any]:
    """Calibration on `dev`, and agreement by vote lead and by skill of the rater, as plain data for evaluation.json.

    Skills are learned from the votes of both parts, without scores and without experts.
    """
    delta_E = scores_N[dev.text_a_E] - scores_N[dev.text_b_E]
    found = calibration(delta_E.double().numpy(), dev.target_E.double().numpy(), dev.prompt_E.numpy())
    return {
        "calibration": None if found is None else asdict(found),
        "by_vote_lead": _by_vote_lead(scores_N, as_votes(dev)),
        "by_skill_quartile": _by_skill(delta_E, dev, _skills(train, dev)) if len(dev) else [],
    }


def as_votes(columns: JudgementColumns) -> Votes:
    """The judgements as votes on pairs of texts; of one rater's on one pair the first counts."""
    a_E, b_E = columns.text_a_E.numpy(), columns.text_b_E.numpy()
    low_E, high_E = np.minimum(a_E, b_E), np.maximum(a_E, b_E)
    count = int(high_E.max(initial=0)) + 1
    key_P, pair_E = np.unique(low_E * count + high_E, return_inverse=True)
    raters = len(columns.rater_names)
    _, kept = np.unique(pair_E * raters + columns.rater_E.numpy(), return_index=True)
    turned_E = a_E > b_E
    sign_E = (2 * columns.target_E.double().numpy() - 1) * np.where(turned_E, -1.0, 1.0)
    return Votes(
        pair_E=pair_E[kept],
        rater_E=columns.rater_E.numpy()[kept],
        sign_E=sign_E[kept],
        turned_E=turned_E[kept],
        first_P=key_P // count,
        second_P=key_P % count,
        raters=raters,
    )


def _by_vote_lead(scores_N: Tensor, votes: Votes) -> list[dict[str, Any]]:
    """Share of pairs on which the model prefers what the majority does, by the lead of the majority in votes."""
    sum_P = votes.by_pair(votes.sign_E)
    score_N = scores_N.double().numpy()
    preferred_P = np.sign(score_N[votes.first_P] - score_N[votes.second_P])
    right_P, lead_P = (1 + preferred_P * np.sign(sum_P)) / 2, np.minimum(np.abs(sum_P), MOST_LEAD).astype(int)
    return [
        {"lead": lead, "pairs": int((lead_P == lead).sum()), "accuracy": float(right_P[lead_P == lead].mean())}
        for lead in np.unique(lead_P).tolist()
    ]


def _skills(train: JudgementColumns, dev: JudgementColumns) -> Floats:
    """Of each rater by the one-coin model [K]; both parts have the same raters' codes."""
    both = {
        name: torch.cat([getattr(train, name), getattr(dev, name)])
        for name in ("text_a_E", "text_b_E", "target_E", "confidence_E", "rater_E", "tier_E", "group_E", "prompt_E")
    }
    names = {name: getattr(dev, name) for name in ("rater_names", "tier_names", "group_names", "prompt_names")}
    return one_coin(as_votes(JudgementColumns(**both, **names))).skill_K


def _by_skill(delta_E: Tensor, dev: JudgementColumns, skill_K: Floats) -> list[dict[str, Any]]:
    """Agreement with the votes of each quartile of the raters who have any here, the lowest skill first."""
    raters = dev.rater_E.unique().numpy()
    ordered = raters[np.argsort(skill_K[raters], kind="stable")]
    rows = []
    for members in np.array_split(ordered, QUARTILES):
        own_E = torch.isin(dev.rater_E, torch.from_numpy(members))
        found = summarise(delta_E[own_E], dev.target_E[own_E])
        if found is not None:
            limits = {"skill_low": float(skill_K[members].min()), "skill_high": float(skill_K[members].max())}
            rows.append({"raters": len(members), **limits, **asdict(found)})
    return rows
