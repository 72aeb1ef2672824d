"""Judgements as arrays."""

from dataclasses import replace

import pytest
import torch

from sandwiching.reward_model.columns import JudgementColumns, judgement_weights, margins

NAN = float("nan")
COLUMNS = JudgementColumns(
    text_a_E=torch.tensor([0, 1, 2]),
    text_b_E=torch.tensor([1, 2, 0]),
    target_E=torch.tensor([1.0, 0.5, 0.0]),
    confidence_E=torch.tensor([0.25, NAN, NAN]),
    rater_E=torch.tensor([0, 1, 0]),
    tier_E=torch.zeros(3, dtype=torch.int64),
    group_E=torch.zeros(3, dtype=torch.int64),
    prompt_E=torch.zeros(3, dtype=torch.int64),
    rater_names=("x", "y"),
    tier_names=("weak",),
    group_names=("g",),
    prompt_names=("p",),
)


def test_weights_of_ties_and_confidence():
    assert judgement_weights(COLUMNS, ties=0.0, use_confidence=False).tolist() == [1, 0, 1]
    assert judgement_weights(COLUMNS, ties=0.5, use_confidence=True).tolist() == [0.25, 0.5, 1]


def test_margins_scale_with_confidence():
    assert margins(COLUMNS, 2.0).tolist() == [0.5, 2.0, 2.0]


def test_selection_keeps_rows_together_and_names_whole():
    chosen = COLUMNS.select(torch.tensor([2, 0]))
    assert chosen.text_a_E.tolist() == [2, 0]
    assert chosen.target_E.tolist() == [0.0, 1.0]
    assert chosen.rater_names == ("x", "y")
    assert len(COLUMNS.select(torch.tensor([True, False, False]))) == 1


def test_odd_columns_are_refused():
    with pytest.raises(ValueError, match="equally long"):
        replace(COLUMNS, rater_E=torch.tensor([0]))
    with pytest.raises(ValueError, match="target_E"):
        replace(COLUMNS, target_E=torch.tensor([1.0, 0.7, 0.0]))
