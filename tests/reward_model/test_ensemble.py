"""Combining members, and what each is trained on."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sandwiching.reward_model.ensemble import BOOTSTRAP, COMBINE, bootstrap_judgements, bootstrap_raters

SCORES = torch.tensor([[1.0, -2.0, 100.0], [3.0, -2.0, -100.0]])


def test_combinations_on_a_worked_example():
    assert COMBINE["mean"](SCORES, 0.5).tolist() == [2.0, -2.0, 0.0]
    assert COMBINE["wco"](SCORES, 0.5).tolist() == [1.0, -2.0, -100.0]
    assert COMBINE["uwo"](SCORES, 0.5).tolist() == [1.5, -2.0, -5000.0]


@settings(deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=5), st.floats(0, 3))
def test_one_member_is_itself_and_more_are_never_above_their_mean(scores, uwo_lambda):
    column_KB = torch.tensor(scores, dtype=torch.float64)[:, None]
    for combine in COMBINE.values():
        assert combine(column_KB[:1], uwo_lambda).item() == scores[0]
        assert combine(column_KB, uwo_lambda).item() <= column_KB.mean().item() + 1e-9


def test_bootstrap_of_raters_keeps_each_rater_whole():
    rater_E = torch.tensor([7, 3, 7, 3, 5, 5, 5])
    for seed in range(20):
        times_E = bootstrap_raters(rater_E, seed)
        per_rater = {int(rater): times_E[rater_E == rater].unique() for rater in rater_E}
        assert all(len(times) == 1 for times in per_rater.values())
        assert sum(int(times) for times in per_rater.values()) == 3


def test_bootstrap_of_judgements_cuts_raters_apart():
    times_E = bootstrap_judgements(torch.zeros(1000, dtype=torch.int64), 0)
    assert times_E.sum() == 1000
    assert (times_E == 0).double().mean().item() == pytest.approx(0.368, abs=0.05)


@pytest.mark.parametrize("name", ["raters", "judgements"])
def test_seeds_draw_differently_and_repeatably(name):
    rater_E = torch.arange(50)
    assert torch.equal(BOOTSTRAP[name](rater_E, 1), BOOTSTRAP[name](rater_E, 1))
    assert not torch.equal(BOOTSTRAP[name](rater_E, 1), BOOTSTRAP[name](rater_E, 2))
    assert torch.equal(BOOTSTRAP["none"](rater_E, 1), torch.ones(50, dtype=torch.int64))
