"""Is there a gap between weak raters and experts? Against loops, and on planted raters."""

from __future__ import annotations

from statistics import fmean

import numpy as np
import pytest

from sandwiching.oversight.weak_gap import weak_gap


def record(votes, outcomes=None, groups=20):
    pairs = [{"group": f"g{place % groups}", "weak_votes": list(one)} for place, one in enumerate(votes)]
    return {"pairs": pairs, "outcomes": outcomes or {}, "confidence": 0.95}


def planted(right: float, raters: int = 5, pairs: int = 400, seed: int = 0):
    """Weak votes that side with the expert at a rate of their own pair, `right` on average."""
    rng = np.random.default_rng(seed)
    return (rng.random((pairs, raters)) < right).astype(float)


def agree(one: float, other: float) -> float:
    return one * other + (1 - one) * (1 - other)


def test_both_agreements_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(1)
    votes = [rng.choice([0.0, 0.5, 1.0], size=rng.integers(2, 6)).tolist() for _ in range(60)]
    experts, weak = [], []
    for row in votes:
        beside = []
        for place, vote in enumerate(row):
            mean = fmean(row[:place] + row[place + 1 :])
            side = 1.0 if mean > 0.5 else 0.0 if mean < 0.5 else 0.5
            beside.append((side, agree(vote, side)))
        experts.append(fmean(one for one, _ in beside))
        weak.append(fmean(other for _, other in beside))
    found = weak_gap(record(votes))
    assert found.experts is not None
    assert found.weak is not None
    assert found.gap is not None
    assert found.experts.estimate == pytest.approx(np.mean(experts))
    assert found.weak.estimate == pytest.approx(np.mean(weak))
    assert found.gap.estimate == pytest.approx(np.mean(weak) - np.mean(experts))


def test_weak_raters_of_one_mind_who_differ_from_experts_show_a_gap() -> None:
    rng = np.random.default_rng(2)
    shared = (rng.random(400) < 0.55).astype(float)
    flips = rng.random((400, 5)) < 0.1
    found = weak_gap(record(np.abs(shared[:, None] - flips)))
    assert found.sentence().startswith("There is a gap between weak raters and experts: ")
    assert found.gap is not None
    assert found.gap.estimate == pytest.approx(0.33, abs=0.08)


def test_experts_who_are_the_better_raters_leave_no_gap() -> None:
    found = weak_gap(record(planted(0.8)))
    assert found.sentence().startswith("No gap is left: ")
    assert found.gap is not None
    assert found.gap.high < 0


def test_an_expert_who_votes_like_one_more_weak_rater_shows_no_gap() -> None:
    # The expert's verdict is 1 by definition: one of six exchangeable votes, turned so that it is.
    rng = np.random.default_rng(3)
    truth = (rng.random((600, 1)) < 0.5).astype(float)
    votes = np.where(rng.random((600, 6)) < 0.75, truth, 1 - truth)
    turned = np.where(votes[:, :1] > 0.5, votes[:, 1:], 1 - votes[:, 1:])
    found = weak_gap(record(turned))
    assert found.sentence().startswith("No gap is shown ")
    assert found.gap is not None
    assert found.gap.low < 0 < found.gap.high


def test_reward_models_agree_with_votes_as_in_a_loop() -> None:
    votes = [[1.0, 0.0, 1.0], [], [0.0, 0.5], [1.0]]
    found = weak_gap(record(votes, {"arm": [[1.0, 0.0, 0.5, 0.0]]}, groups=4))
    one = fmean([agree(1, 2 / 3), agree(0.5, 0.25), agree(0, 1)])
    most = fmean([agree(1, 1), agree(0.5, 0), agree(0, 1)])
    assert found.with_vote["arm"].estimate == pytest.approx(one)
    assert found.with_majority["arm"].estimate == pytest.approx(most)
    assert found.with_vote["arm"].items == 3


@pytest.mark.parametrize("votes", [[[1.0]] * 30, [[]] * 30, [[1.0, 0.0], *[[1.0]] * 20]])
def test_too_few_votes_are_said(votes: list[list[float]]) -> None:
    found = weak_gap(record(votes))
    assert found.gap is None
    assert "is not known" in found.sentence()
    assert "an interval takes 2 groups" in found.sentence()
