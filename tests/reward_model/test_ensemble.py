"""Combining members, and what each is trained on."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sandwiching.reward_model.ensemble import BOOTSTRAP, COMBINE, bootstrap_judgements, bootstrap_raters
from sandwiching.reward_model.probe import fit_probe

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


def bootstrapped(liked: list[float], members: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Probes on (quality, length), by 20 raters of whom each likes length as given: mean and spread of the scores of
    (good and short, bad and long), [2] each, in units of the deviation over all texts."""
    draw = torch.Generator().manual_seed(0)
    texts = torch.randn(200, 2, generator=draw)
    rater = torch.arange(20).repeat_interleave(60)
    a = torch.randint(200, (len(rater),), generator=draw)
    b = (a + 1 + torch.randint(199, (len(rater),), generator=draw)) % 200
    taste = torch.stack([torch.ones(20), torch.tensor(liked)], 1)[rater]
    target = (torch.rand(len(rater), generator=draw) < ((texts[a] - texts[b]) * taste).sum(1).sigmoid()).float()
    probes = torch.tensor([[2.0, -2.0], [-2.0, 2.0]])
    scores = []
    for member in range(members):
        weight = bootstrap_raters(rater, member).float()
        head = fit_probe(texts, a, b, target, weight, torch.zeros(len(rater)))
        scores.append(probes @ head / (texts @ head).std())
    scores_KB = torch.stack(scores)
    return scores_KB.mean(0), scores_KB.std(0, correction=0)


def test_spread_shows_what_raters_disagree_on_and_not_what_all_of_them_like():
    shared_mean, shared_spread = bootstrapped([2.0] * 20)
    mixed_mean, mixed_spread = bootstrapped([6.0] * 7 + [-2.0] * 13)
    # All like length twice as much as quality: the long bad text wins, and no member doubts it.
    assert shared_mean[1] > shared_mean[0] + 1
    assert shared_spread[1] < 0.2
    assert mixed_spread[1] > 2 * shared_spread[1]
    assert mixed_mean[1] < shared_mean[1]
