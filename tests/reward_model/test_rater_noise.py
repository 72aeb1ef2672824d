"""Learned error rates: the likelihood against a loop, what is recovered from planted raters, and who falls back."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sandwiching.reward_model.columns import JudgementColumns
from sandwiching.reward_model.losses import bradley_terry, mistaken
from sandwiching.reward_model.probe import fit_probe
from sandwiching.reward_model.rater_noise import (
    NoisePrior,
    RaterContext,
    RaterNoise,
    error_rate,
    length_differences,
)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def likelihood(delta: float, target: float, logit: float, lean: float) -> float:
    """P(verdict), over which response is the better one."""
    a_better, b_better = sigmoid(delta), sigmoid(-delta)
    if target == 0.5:
        return math.sqrt(a_better * b_better)
    says_a = (1 - sigmoid(logit - lean)) * a_better + sigmoid(logit + lean) * b_better
    return says_a if target == 1 else 1 - says_a


@settings(deadline=None)
@given(
    *(st.floats(-8, 8) for _ in range(3)),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_likelihood_matches_a_loop(delta, logit, lean, target):
    columns = (torch.tensor([value], dtype=torch.float64) for value in (delta, target, logit, lean))
    assert mistaken(*columns).item() == pytest.approx(-math.log(likelihood(delta, target, logit, lean)), rel=1e-9)


def test_stays_exact_far_out_where_probabilities_underflow():
    delta = torch.tensor([-900.0, 900.0, 0.0], requires_grad=True)
    one = torch.ones(3)
    loss = mistaken(delta, one, torch.tensor([-800.0, -800.0, 800.0]), torch.zeros(3))
    assert loss.tolist() == pytest.approx([800.0, 0.0, math.log(2)], abs=1e-4)
    (gradient,) = torch.autograd.grad(loss.sum(), delta)
    assert gradient.isfinite().all()


def test_a_rate_of_nothing_is_the_plain_loss():
    delta, target = torch.tensor([0.3, -40.0, 35.0, 2.0]), torch.tensor([1.0, 0.0, 0.0, 0.5])
    ones, zeros = torch.ones(4), torch.zeros(4)
    plain = bradley_terry(delta, target, ones, zeros, 1.0)
    learned = bradley_terry(delta, target, ones, zeros, 1.0, "per_rater", torch.full((4,), -1e4))
    assert torch.allclose(learned, plain)


def test_who_always_takes_the_longer_one_says_nothing_but_by_taking_the_shorter():
    delta = torch.tensor([1.5], requires_grad=True)
    lean, logit = torch.tensor([30.0]), torch.tensor([-2.0])
    silent = mistaken(delta, torch.ones(1), logit, lean)
    assert torch.autograd.grad(silent, delta)[0].abs().item() < 1e-6
    assert mistaken(delta, torch.zeros(1), logit, lean).item() > 20


def world(kinds: list[str], votes: int = 200, seed: int = 0):
    """Features (quality, length), and votes by raters of each kind; the truth is quality alone."""
    draw = torch.Generator().manual_seed(seed)
    texts = torch.randn(300, 2, generator=draw)
    rater = torch.arange(len(kinds)).repeat_interleave(votes)
    a = torch.randint(300, (len(rater),), generator=draw)
    b = (a + 1 + torch.randint(299, (len(rater),), generator=draw)) % 300
    quality, length = ((texts[a, i] - texts[b, i]) for i in (0, 1))
    truth = torch.rand(len(rater), generator=draw) < (4 * quality).sigmoid()
    chance = torch.rand(len(rater), generator=draw)
    says = {
        "good": torch.where(chance < 0.05, ~truth, truth),
        "spam": chance < 0.5,
        "adversary": torch.where(chance < 0.1, truth, ~truth),
        "longer": length > 0,
        "left": torch.where(chance < 0.7, torch.ones_like(truth), truth),
    }
    target = torch.stack([says[kind][i] for i, kind in enumerate(kind for kind in kinds for _ in range(votes))]).float()
    group = torch.arange(len(rater)) % 3
    tokens = (1000 + 100 * texts[:, 1]).round().long()
    zero = torch.zeros(len(rater), dtype=torch.int64)
    columns = JudgementColumns(
        text_a_E=a,
        text_b_E=b,
        target_E=target,
        confidence_E=torch.full((len(rater),), float("nan")),
        rater_E=rater,
        tier_E=zero,
        group_E=group,
        prompt_E=zero,
        rater_names=(*(f"{kind}{i}" for i, kind in enumerate(kinds)), "unseen"),
        tier_names=("weak",),
        group_names=("x", "y", "z"),
        prompt_names=("p",),
    )
    return texts, tokens, columns


def noise_of(columns: JudgementColumns, context: bool, spread: float = 1.0) -> RaterNoise:
    votes_K = columns.rater_E.bincount(minlength=len(columns.rater_names))
    return RaterNoise(votes_K, columns.group_E.bincount(), NoisePrior(0.1, spread), context)


def fitted(kinds: list[str], noise: str, seed: int = 0):
    texts, tokens, columns = world(kinds, seed=seed)
    length_E, unit = length_differences(tokens, columns)
    module = noise_of(columns, noise == "per_rater_context")
    ones, zeros = torch.ones(len(columns)), torch.zeros(len(columns))
    head = fit_probe(
        texts,
        columns.text_a_E,
        columns.text_b_E,
        columns.target_E,
        ones,
        zeros,
        noise,
        raters=(module, RaterContext(columns.rater_E, length_E, columns.group_E)),
    )
    votes_K = columns.rater_E.bincount(minlength=len(columns.rater_names))
    return head, module.rates(columns, votes_K, unit)


def test_a_probe_finds_who_is_good_who_guesses_and_who_says_the_opposite():
    kinds = ["good"] * 7 + ["spam", "spam", "adversary"]
    head, rates = fitted(kinds, "per_rater")
    for i, kind in enumerate(kinds):
        low, high = {"good": (0.0, 0.15), "spam": (0.35, 0.65), "adversary": (0.75, 1.0)}[kind]
        assert low < rates["raters"][f"{kind}{i}"]["error"] < high, kind
    assert rates["population"]["error"] < 0.5
    assert head[0] > 2.5
    assert error_rate(rates, "good0") == rates["raters"]["good0"]["error"]
    assert error_rate(rates, "unseen") == error_rate(rates, "nobody") == rates["population"]["error"]
    assert "unseen" not in rates["raters"]


def test_leans_are_found_and_taken_out_of_the_reward():
    kinds = ["good"] * 6 + ["longer"] * 3 + ["left"]
    texts, _, columns = world(kinds)
    ones, zeros = torch.ones(len(columns)), torch.zeros(len(columns))
    plain = fit_probe(texts, columns.text_a_E, columns.text_b_E, columns.target_E, ones, zeros)
    head, rates = fitted(kinds, "per_rater_context")
    assert abs(head[1] / head[0]) < 0.1 < plain[1] / plain[0]
    longer = {name: row["longer"] for name, row in rates["raters"].items()}
    assert min(longer[f"longer{i}"] for i in (6, 7, 8)) > 1 > max(abs(longer[f"good{i}"]) for i in range(6))
    assert rates["raters"]["left9"]["side"] > 0.5


def test_a_rater_of_one_vote_stays_near_the_population_and_groups_are_shrunk():
    texts, tokens, columns = world(["good"] * 5)
    columns = columns.select(torch.cat([torch.arange(201), torch.arange(400, 600)]))
    module = noise_of(columns, context=True)
    length_E, _ = length_differences(tokens, columns)
    weight = torch.ones(len(columns))
    fit_probe(
        texts,
        columns.text_a_E,
        columns.text_b_E,
        columns.target_E,
        weight,
        0 * weight,
        "per_rater_context",
        raters=(module, RaterContext(columns.rater_E, length_E, columns.group_E)),
    )
    values = module.values()
    assert values["raters"][1].abs() < 0.5
    assert values["raters"][3:].abs().max() == 0
    assert values["groups"].abs().max() < 1


def test_the_prior_is_the_negative_log_of_its_normals():
    _, _, columns = world(["good"] * 2, votes=5)
    module = noise_of(columns, context=True, spread=0.5)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 10)
    values = module.values()
    length_E = torch.linspace(-1, 1, len(columns))
    logit_E, lean_E, penalty = module(RaterContext(columns.rater_E, length_E, columns.group_E))
    start = math.log(math.expm1(math.log(9)))
    population = -math.log1p(math.exp(start + values["population"].item()))
    expected = (population + math.log(9)) ** 2 + sum(
        values[name].square().sum().item() for name in ("raters", "longer", "side", "sides", "groups")
    )
    assert penalty.item() == pytest.approx(expected / (2 * 0.5**2), rel=1e-5)
    for i in range(len(columns)):
        rater, group = int(columns.rater_E[i]), int(columns.group_E[i])
        assert logit_E[i].item() == pytest.approx(
            population + (values["raters"][rater] + values["groups"][group]).item(), abs=1e-5
        )
        lean = length_E[i] * values["longer"][rater] + values["side"][0] + values["sides"][rater]
        assert lean_E[i].item() == pytest.approx(lean.item(), abs=1e-5)


@settings(deadline=None, max_examples=30)
@given(st.floats(-50, 50), st.floats(0.01, 0.49))
def test_the_population_is_below_one_half_whatever_is_learned(raw, error):
    module = RaterNoise(torch.ones(2), torch.ones(1), NoisePrior(error, 1.0), context=False)
    with torch.no_grad():
        assert module._population(module.values()).item() == pytest.approx(math.log(error / (1 - error)), abs=1e-5)
        module.get_parameter("population").fill_(raw)
        assert module._population(module.values()).item() <= 0
