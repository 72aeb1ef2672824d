"""Agreement with judgements, whole and in parts."""

import pytest
import torch

from sandwiching.reward_model.columns import JudgementColumns
from sandwiching.reward_model.evaluate import agreement, evaluate, summarise


def columns(text_a, text_b, target, rater, group):
    n = len(text_a)
    return JudgementColumns(
        text_a_E=torch.tensor(text_a, dtype=torch.int64),
        text_b_E=torch.tensor(text_b, dtype=torch.int64),
        target_E=torch.tensor(target),
        confidence_E=torch.full((n,), float("nan")),
        rater_E=torch.tensor(rater, dtype=torch.int64),
        tier_E=torch.zeros(n, dtype=torch.int64),
        group_E=torch.tensor(group, dtype=torch.int64),
        prompt_E=torch.zeros(n, dtype=torch.int64),
        rater_names=("x", "y", "unused"),
        tier_names=("weak",),
        group_names=("Chad", "Peru"),
        prompt_names=("p",),
    )


def test_ties_count_half_on_either_side():
    delta = torch.tensor([3.0, 3.0, 3.0, 0.0, 0.0])
    target = torch.tensor([1.0, 0.0, 0.5, 1.0, 0.5])
    assert agreement(delta, target).tolist() == [1.0, 0.0, 0.5, 0.5, 1.0]


def test_parts_add_up_to_the_whole():
    scores = torch.tensor([0.0, 1.0, 5.0, -3.0])
    judged = columns([1, 0, 2, 3], [0, 1, 3, 2], [1.0, 1.0, 1.0, 0.5], [0, 0, 1, 1], [0, 1, 0, 1])
    result = evaluate(scores, judged, deviation=2.0)
    assert result["overall"]["accuracy"] == pytest.approx((1 + 0 + 1 + 0.5) / 4)
    assert result["overall"]["ties"] == 1
    assert result["by_rater"]["x"]["accuracy"] == 0.5
    assert result["by_rater"]["y"]["accuracy"] == 0.75
    assert "unused" not in result["by_rater"]
    assert {name: row["judgements"] for name, row in result["by_group"].items()} == {"Chad": 2, "Peru": 2}
    assert [(row["low"], row["high"]) for row in result["by_margin"]] == [(0.5, 1.0), (3.5, None)]
    for part in ("by_rater", "by_tier", "by_group"):
        rows = result[part].values()
        total = sum(row["accuracy"] * row["judgements"] for row in rows)
        assert total / 4 == pytest.approx(result["overall"]["accuracy"])


def test_nll_is_that_of_bradley_terry():
    found = summarise(torch.tensor([2.0, -1.0]), torch.tensor([1.0, 0.5]))
    assert found is not None
    terms = (
        torch.nn.functional.softplus(torch.tensor([-2.0]))
        + torch.nn.functional.softplus(torch.tensor([[-1.0, 1.0]])).mean()
    )
    assert found.nll == pytest.approx(terms.item() / 2, rel=1e-6)


def test_nothing_kept_aside_is_not_an_accuracy():
    assert evaluate(torch.tensor([0.0]), columns([], [], [], [], []), 1.0)["overall"] is None
