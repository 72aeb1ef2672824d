"""The linear probe: optimality of the fit, and what it recovers."""

import pytest
import torch

from sandwiching.reward_model.losses import bradley_terry
from sandwiching.reward_model.probe import fit_probe


def problem(judgements=4000, seed=0):
    generator = torch.Generator().manual_seed(seed)
    # Features with very different scales and a large common shift, as hidden states have.
    scale = torch.tensor([1e-2, 1.0, 1.0, 50.0])
    features = torch.randn(200, 4, generator=generator) * scale + 300
    truth = torch.tensor([100.0, 1.0, 0.0, -0.02])
    a = torch.randint(200, (judgements,), generator=generator)
    b = (a + 1 + torch.randint(199, (judgements,), generator=generator)) % 200
    delta = (features[a] - features[b]).double() @ truth.double()
    target = (torch.rand(judgements, generator=generator) < delta.sigmoid()).float()
    return features, truth, a, b, target, torch.ones(judgements), torch.zeros(judgements)


def test_recovers_the_weights_that_made_the_judgements():
    features, truth, a, b, target, weight, margin = problem()
    head = fit_probe(features, a, b, target, weight, margin)
    assert torch.allclose(head * features.std(0), truth * features.std(0), atol=0.15)


def test_is_the_optimum_of_its_objective():
    features, _, a, b, target, weight, margin = problem(judgements=300)
    weight = weight * 0.5
    scale = features.double().std(0, correction=0)
    head = (fit_probe(features, a, b, target, weight, margin, ridge=2.0).double() * scale).requires_grad_()
    difference = (features[a] - features[b]).double() / scale
    loss = bradley_terry(difference @ head, target.double(), weight.double(), margin.double(), 1.0)
    loss = loss + head.square().sum()
    assert torch.autograd.grad(loss, head)[0].abs().max().item() < 1e-3


def test_separable_judgements_stay_finite_and_repeat_exactly():
    features, truth, a, b, _, weight, margin = problem(judgements=50)
    target = ((features[a] - features[b]) @ truth > 0).float()
    first = fit_probe(features, a, b, target, weight, margin)
    assert first.isfinite().all()
    assert torch.equal(first, fit_probe(features, a, b, target, weight, margin))


def test_a_weight_is_worth_as_many_judgements():
    features, _, a, b, target, weight, margin = problem(judgements=60)
    again = torch.cat([torch.arange(60), torch.arange(20)])
    repeated = fit_probe(features, a[again], b[again], target[again], weight[again], margin[again])
    weight[:20] = 2
    assert torch.allclose(fit_probe(features, a, b, target, weight, margin), repeated, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("noise", ["none", "smoothing"])
def test_constant_features_do_no_harm(noise):
    features, _, a, b, target, weight, margin = problem(judgements=100)
    features[:, 2] = 5.0
    head = fit_probe(features, a, b, target, weight, margin, noise, torch.full((100,), 0.1))
    assert head.isfinite().all()
    assert head[2] == 0
