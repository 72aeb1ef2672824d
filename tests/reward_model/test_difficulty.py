"""Agreement by vote lead and by skill of the rater, by hand."""

import numpy as np
import torch

from sandwiching.reward_model.columns import JudgementColumns
from sandwiching.reward_model.difficulty import as_votes, difficulty


def columns(rows, raters=8):
    """rows: (text a, text b, target, rater)."""
    a, b, target, rater = zip(*rows, strict=True) if rows else ((), (), (), ())
    zeros = torch.zeros(len(rows), dtype=torch.int64)
    return JudgementColumns(
        text_a_E=torch.tensor(a, dtype=torch.int64),
        text_b_E=torch.tensor(b, dtype=torch.int64),
        target_E=torch.tensor(target, dtype=torch.float32),
        confidence_E=torch.full((len(rows),), float("nan")),
        rater_E=torch.tensor(rater, dtype=torch.int64),
        tier_E=zeros,
        group_E=zeros,
        prompt_E=torch.tensor(a, dtype=torch.int64) // 2,
        rater_names=tuple(f"r{k}" for k in range(raters)),
        tier_names=("weak",),
        group_names=("",),
        prompt_names=tuple(str(k) for k in range(99)),
    )


def test_votes_of_one_pair_are_joined_whichever_text_stood_first():
    votes = as_votes(columns([(3, 1, 1.0, 0), (1, 3, 1.0, 1), (1, 3, 0.5, 2), (3, 1, 0.0, 0)]))
    assert (votes.first_P.tolist(), votes.second_P.tolist()) == ([1], [3])
    by_rater = dict(zip(votes.rater_E.tolist(), votes.sign_E.tolist(), strict=True))
    assert by_rater == {0: -1.0, 1: 1.0, 2: 0.0}


def test_by_vote_lead():
    rows = [(0, 1, 1.0, k) for k in range(3)] + [(2, 3, 1.0, 0), (2, 3, 0.0, 1)] + [(4, 5, 0.0, 0)]
    scores_N = torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0, 0.0])
    found = difficulty(scores_N, columns([]), columns(rows))
    assert found["by_vote_lead"] == [
        {"lead": 0, "pairs": 1, "accuracy": 0.5},
        {"lead": 1, "pairs": 1, "accuracy": 0.0},
        {"lead": 3, "pairs": 1, "accuracy": 1.0},
    ]


def test_raters_of_more_skill_agree_more_with_a_model_that_is_right():
    random = np.random.default_rng(0)
    skills = np.array([0.5, 0.5, 0.6, 0.6, 0.8, 0.8, 0.95, 0.95])
    rows = [(2 * pair, 2 * pair + 1, float(random.random() < skills[k]), k) for pair in range(300) for k in range(8)]
    scores_N = torch.tensor([1.0, 0.0]).repeat(300)
    found = difficulty(scores_N, columns(rows[: 8 * 200]), columns(rows[8 * 200 :]))
    quartiles = found["by_skill_quartile"]
    assert [row["raters"] for row in quartiles] == [2, 2, 2, 2]
    accuracies = [row["accuracy"] for row in quartiles]
    assert accuracies == sorted(accuracies)
    assert accuracies[-1] - accuracies[0] > 0.3
    assert found["calibration"]["judgements"] == 800
    assert sum(row["judgements"] for row in quartiles) == 800


def test_nothing_held_out():
    found = difficulty(torch.zeros(4), columns([(0, 1, 1.0, 0)]), columns([]))
    assert found == {"calibration": None, "by_vote_lead": [], "by_skill_quartile": []}
