"""Expert pairs joined from judgements, and what agrees with them."""

import numpy as np
import pytest
import torch

from sandwiching.oversight.agreement import LONGER, MAJORITY, VOTE, agreement, arm_outcomes
from sandwiching.oversight.expert_pairs import expert_pairs, longer_right, majority_right, single_vote_right
from sandwiching.tasks.readers import JudgementRow
from sandwiching.tasks.records import Judgement, Text


def row(a, b, preference, rater, tier, prompt: Text = "Q", group: str | None = "g"):
    return JudgementRow(Judgement(prompt, a, b, preference, rater, tier, group=group))


def test_judgements_join_whichever_response_stood_first():
    pairs = expert_pairs(
        [
            row("long answer", "short", "b", "e1", "expert"),
            row("short", "long answer", "a", "w1", "weak"),
            row("long answer", "short", "a", "w2", "weak"),
            row("long answer", "short", "tie", "w3", "weak"),
        ]
    )
    assert len(pairs) == 1
    assert (pairs[0].better.response, pairs[0].worse.response) == ("short", "long answer")
    assert pairs[0].weak_votes == (1.0, 0.0, 0.5)
    assert longer_right(pairs).tolist() == [0.0]
    assert single_vote_right(pairs).tolist() == [0.5]
    assert majority_right(pairs).tolist() == [0.5]


def test_pairs_without_an_expert_majority_are_left_out():
    rows = [
        row("x", "y", "a", "w1", "weak"),
        row("u", "v", "a", "e1", "expert"),
        row("v", "u", "a", "e2", "expert"),
        row("m", "n", "tie", "e1", "expert"),
    ]
    with pytest.raises(ValueError, match="no pair of the split has an expert verdict"):
        expert_pairs(rows)
    assert len(expert_pairs([*rows, row("k", "l", "b", "e1", "expert")])) == 1


def test_an_experts_own_weak_vote_does_not_count_for_the_baseline():
    pairs = expert_pairs(
        [row("x", "y", "a", "r", "expert"), row("x", "y", "a", "r", "weak"), row("x", "y", "b", "w", "weak")]
    )
    assert pairs[0].weak_votes == (0.0,)


def test_chat_prompts_and_missing_groups():
    chat = ({"role": "user", "content": "Q"},)
    assert expert_pairs([row("x", "y", "a", "e", "expert", prompt=chat)])[0].better.prompt == chat
    with pytest.raises(ValueError, match="no group"):
        expert_pairs([row("x", "y", "a", "e", "expert", group=None)])


def made_up(groups=20, pairs_each=15, seed=0):
    """The expert takes the text with more e's; weak raters agree 7 times in 10; length says nothing."""
    rng = np.random.default_rng(seed)
    rows = []
    for group in range(groups):
        for number in range(pairs_each):
            a, b = ("e" * rng.integers(0, 5) + "x" * rng.integers(0, 9) + f"{side}{group}/{number}" for side in "ab")
            if a.count("e") == b.count("e"):
                continue
            right, wrong = ("a", "b") if a.count("e") > b.count("e") else ("b", "a")
            rows.append(row(a, b, right, "e", "expert", group=f"g{group}"))
            rows += [
                row(a, b, right if rng.random() < 0.7 else wrong, f"w{k}", "weak", group=f"g{group}") for k in range(3)
            ]
    return expert_pairs(rows)


def test_agreement_of_arms_over_baselines():
    pairs = made_up()

    def perfect(texts):
        return torch.tensor([float(text.response.count("e")) for text in texts])

    def constant(texts):
        return torch.zeros(len(texts))

    arms = {name: np.array([arm_outcomes(pairs, score)] * 2) for name, score in (("good", perfect), ("flat", constant))}
    found = agreement(pairs, arms, 0.95)
    assert found.accuracy["good"].estimate == 1.0
    assert found.accuracy["flat"].estimate == 0.5
    assert found.accuracy[VOTE].low < 0.7 < found.accuracy[VOTE].high
    assert found.accuracy[MAJORITY].estimate > found.accuracy[VOTE].estimate
    assert found.over["good"][LONGER].low > 0
    assert found.over["flat"][MAJORITY].high < 0
    assert "roughly" in found.covers


def test_each_text_is_scored_once_and_pairs_without_votes_leave_the_weak_baselines():
    rows = [
        row("x", "y", "a", "e", "expert", group="g1"),
        row("x", "z", "a", "e", "expert", group="g2"),
        row("x", "z", "a", "w", "weak", group="g2"),
        row("y", "z", "b", "e", "expert", group="g3"),
        row("y", "z", "a", "w", "weak", group="g3"),
    ]
    asked = []

    def score(texts):
        asked.extend(text.response for text in texts)
        return torch.arange(len(texts), dtype=torch.float32)

    pairs = expert_pairs(rows)
    outcomes = arm_outcomes(pairs, score)
    assert sorted(asked) == ["x", "y", "z"]
    assert outcomes == [0.0, 0.0, 1.0]
    found = agreement(pairs, {"arm": np.array([outcomes])}, 0.95)
    assert (found.accuracy["arm"].items, found.accuracy[MAJORITY].items) == (3, 2)
    assert found.over["arm"][MAJORITY].estimate == pytest.approx(0.0)
