"""Bradley-Terry against a loop in plain floats, and its invariances."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from sandwiching.reward_model.losses import NOISE, bradley_terry

PEAKED = torch.tensor([0.3, -40.0, 35.0, 1e3, -1e3, 0.0])
TARGET = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.5, 0.5])
WEIGHT = torch.tensor([1.0, 2.0, 0.5, 3.0, 0.25, 0.0])
MARGIN = torch.tensor([0.0, 0.7, 0.2, 0.5, 9.0, 1.0])


def softplus(x: float) -> float:
    return x if x > 700 else math.log1p(math.exp(x))


def loop(delta, target, weight, margin, denominator, error):
    total = 0.0
    for d, t, w, m, e in zip(delta, target, weight, margin, error, strict=True):
        shifted = d if t == 0.5 else d - m if t == 1 else d + m
        likely = t * (1 - e) + (1 - t) * e
        total += w * (likely * softplus(-shifted) + (1 - likely) * softplus(shifted))
    return total / denominator


@pytest.mark.parametrize(("noise", "rate"), [("none", 0.0), ("smoothing", 0.1), ("smoothing", 0.4)])
def test_matches_a_loop_on_peaked_differences(noise, rate):
    error = torch.full_like(PEAKED, rate)
    loss = bradley_terry(PEAKED, TARGET, WEIGHT, MARGIN, 6.75, noise, error)
    expected = loop(PEAKED.tolist(), TARGET.tolist(), WEIGHT.tolist(), MARGIN.tolist(), 6.75, error.tolist())
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_none_ignores_the_error_rate():
    assert bradley_terry(PEAKED, TARGET, WEIGHT, MARGIN, 1.0, "none", torch.full_like(PEAKED, 0.3)) == bradley_terry(
        PEAKED, TARGET, WEIGHT, MARGIN, 1.0
    )


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(-30, 30), st.sampled_from([0.0, 0.5, 1.0]), st.floats(0, 2)), min_size=1, max_size=9)
)
def test_swapping_the_sides_changes_nothing(rows):
    delta, target, margin = (torch.tensor(column, dtype=torch.float64) for column in zip(*rows, strict=True))
    ones, error = torch.ones_like(delta), torch.full_like(delta, 0.2)
    for noise in NOISE:
        loss = bradley_terry(delta, target, ones, margin, 1.0, noise, error)
        swapped = bradley_terry(-delta, 1 - target, ones, margin, 1.0, noise, error)
        assert loss.item() == pytest.approx(swapped.item(), rel=1e-12, abs=1e-12)


def test_parts_of_a_step_add_up_to_the_whole():
    whole = bradley_terry(PEAKED, TARGET, WEIGHT, MARGIN, 6.75)
    parts = [bradley_terry(PEAKED[i], TARGET[i], WEIGHT[i], MARGIN[i], 6.75) for i in (slice(0, 2), slice(2, 6))]
    assert torch.allclose(parts[0] + parts[1], whole)


def test_a_margin_pushes_harder():
    delta = torch.tensor([0.1], requires_grad=True)
    one = torch.ones(1)
    gradients = [
        torch.autograd.grad(bradley_terry(delta, one, one, torch.tensor([m]), 1.0), delta)[0].item() for m in (0.0, 2.0)
    ]
    assert gradients[1] < gradients[0] < 0


def test_smoothing_has_its_optimum_at_the_error_rate():
    delta = torch.tensor([math.log(0.9 / 0.1)], dtype=torch.float64, requires_grad=True)
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    loss = bradley_terry(delta, one, one, zero, 1.0, "smoothing", torch.tensor([0.1], dtype=torch.float64))
    assert torch.autograd.grad(loss, delta)[0].item() == pytest.approx(0, abs=1e-12)


def test_gradients_are_exact():
    delta = torch.tensor([0.5, -2.0, 3.0], dtype=torch.float64, requires_grad=True)
    target, weight = torch.tensor([1.0, 0.0, 0.5], dtype=torch.float64), torch.tensor([1.0, 2.0, 3.0]).double()
    error = torch.full_like(weight, 0.1)
    for noise in NOISE:
        assert gradcheck(lambda d, noise=noise: bradley_terry(d, target, weight, weight, 6.0, noise, error), delta)
