"""Judgements as arrays: what losses, batches and evaluation see. Files and text stay outside.

Shape suffix: E judgements (edges between two texts).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class JudgementColumns:
    """Judgements between texts that are known by their index.

    text_a_E, text_b_E int64; target_E fp32 P(a preferred): 0, 1/2 (tie) or 1; confidence_E fp32 in 0..1, nan where the
    rater gave none; rater_E, tier_E, group_E, prompt_E int64 codes into the tuples of names.

    Example: one rater prefers text 3 to text 0: text_a_E = [3], text_b_E = [0], target_E = [1.0].
    """

    text_a_E: Tensor
    text_b_E: Tensor
    target_E: Tensor
    confidence_E: Tensor
    rater_E: Tensor
    tier_E: Tensor
    group_E: Tensor
    prompt_E: Tensor
    rater_names: tuple[str, ...]
    tier_names: tuple[str, ...]
    group_names: tuple[str, ...]
    prompt_names: tuple[str, ...]

    def __post_init__(self) -> None:
        lengths = {f.name: len(getattr(self, f.name)) for f in fields(self) if f.name.endswith("_E")}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"columns of judgements must be equally long, are {lengths}")
        if not torch.isin(self.target_E, torch.tensor([0.0, 0.5, 1.0])).all():
            raise ValueError("target_E must be 0, 0.5 or 1")

    def __len__(self) -> int:
        return len(self.target_E)

    def select(self, index: Tensor) -> JudgementColumns:
        """The judgements at `index` (int64 or bool [E]), with the same names."""
        columns = {f.name: getattr(self, f.name)[index] for f in fields(self) if f.name.endswith("_E")}
        return replace(self, **columns)


def judgement_weights(columns: JudgementColumns, ties: float, use_confidence: bool) -> Tensor:
    """Weight of each judgement in the loss [E] fp32: `ties` for ties, else 1; times the stated confidence if wanted.

    A judgement without confidence counts in full.
    """
    weight_E = torch.where(columns.target_E == 0.5, ties, 1.0)
    return weight_E * columns.confidence_E.nan_to_num(nan=1.0) if use_confidence else weight_E


def margins(columns: JudgementColumns, margin: float) -> Tensor:
    """Score difference asked of each judgement [E] fp32: `margin` times the confidence where one is given."""
    return margin * columns.confidence_E.nan_to_num(nan=1.0)
