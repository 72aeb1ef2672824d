"""Agreement of a reward model with judgements it was not trained on. Shape suffix: E judgements."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from sandwiching.reward_model.columns import JudgementColumns

MARGIN_WIDTH = 0.5
"""Width of the bins of |difference|, in units of the reference deviation."""
MARGIN_BINS = 8
"""The last bin is open."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Number of judgements, of ties among them, share agreed with, and mean negative log-likelihood (nats)."""

    judgements: int
    ties: int
    accuracy: float
    nll: float


def agreement(delta_E: Tensor, target_E: Tensor) -> Tensor:
    """1 where the model prefers what the rater preferred, 0 where the other [E]; a tie of one side only counts half."""
    return 1 - (target_E - (delta_E.sign() + 1) / 2).abs()


def summarise(delta_E: Tensor, target_E: Tensor) -> Agreement | None:
    """Agreement over all given judgements, None without any."""
    if len(delta_E) == 0:
        return None
    return Agreement(
        judgements=len(delta_E),
        ties=int((target_E == 0.5).sum()),
        accuracy=agreement(delta_E, target_E).double().mean().item(),
        nll=binary_cross_entropy_with_logits(delta_E.double(), target_E.double()).item(),
    )


def evaluate(scores_N: Tensor, columns: JudgementColumns, deviation: float) -> dict[str, Any]:
    """Agreement overall and by rater, tier, group and margin, as plain data for evaluation.json.

    scores_N: raw score of each text; deviation: of the reference texts, the unit of the margins.
    """
    delta_E = scores_N[columns.text_a_E] - scores_N[columns.text_b_E]
    codes = {
        "by_rater": (columns.rater_E, columns.rater_names),
        "by_tier": (columns.tier_E, columns.tier_names),
        "by_group": (columns.group_E, columns.group_names),
    }
    overall = summarise(delta_E, columns.target_E)
    return {
        "overall": None if overall is None else asdict(overall),
        **{key: _by_name(delta_E, columns.target_E, code_E, names) for key, (code_E, names) in codes.items()},
        "by_margin": _by_margin(delta_E, columns.target_E, delta_E.abs() / deviation),
    }


def _by_name(delta_E: Tensor, target_E: Tensor, code_E: Tensor, names: tuple[str, ...]) -> dict[str, Any]:
    rows = {}
    for code in code_E.unique().tolist():
        found = summarise(delta_E[code_E == code], target_E[code_E == code])
        assert found is not None
        rows[names[code]] = asdict(found)
    return rows


def _by_margin(delta_E: Tensor, target_E: Tensor, margin_E: Tensor) -> list[dict[str, Any]]:
    bin_E = (margin_E / MARGIN_WIDTH).long().clamp(max=MARGIN_BINS - 1)
    rows = []
    for code in bin_E.unique().tolist():
        found = summarise(delta_E[bin_E == code], target_E[bin_E == code])
        assert found is not None
        high = None if code == MARGIN_BINS - 1 else (code + 1) * MARGIN_WIDTH
        rows.append({"low": code * MARGIN_WIDTH, "high": high, **asdict(found)})
    return rows
