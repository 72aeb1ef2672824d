"""Against a loop in fp64, and autograd."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sandwiching.kernels.surrogate import clipped_surrogate

values = st.lists(st.tuples(*[st.floats(-60, 60)] * 3), min_size=1, max_size=8)


@given(values, st.floats(0.05, 0.5))
def test_equal_to_the_loop(rows: list[tuple[float, float, float]], clip_range: float):
    new_N, old_N, advantage_N = torch.tensor(rows, dtype=torch.float64).T
    tokens = clipped_surrogate(new_N, old_N, advantage_N, clip_range)
    for i, (new, old, advantage) in enumerate(rows):
        log_ratio = min(max(new - old, -20), 20)
        ratio = math.exp(log_ratio)
        clipped = min(max(ratio, 1 - clip_range), 1 + clip_range)
        assert tokens.loss[i].item() == pytest.approx(-min(advantage * ratio, advantage * clipped), rel=1e-9)
        assert (tokens.ratio[i].item(), tokens.log_ratio[i].item()) == pytest.approx((ratio, log_ratio), rel=1e-9)


@given(values, st.floats(0.05, 0.5))
def test_its_derivative_is_that_of_autograd(rows: list[tuple[float, float, float]], clip_range: float):
    new_N, old_N, advantage_N = torch.tensor(rows, dtype=torch.float64).T
    leaf_N = new_N.clone().requires_grad_()
    tokens = clipped_surrogate(leaf_N, old_N, advantage_N, clip_range)
    tokens.loss.sum().backward()
    assert leaf_N.grad is not None
    # Where both branches are equal to the last bit, autograd gives each half of the gradient.
    single_N = -advantage_N * tokens.ratio != -advantage_N * tokens.ratio.clamp(1 - clip_range, 1 + clip_range)
    torch.testing.assert_close(tokens.gradient[single_N], leaf_N.grad[single_N])


def test_before_the_first_step_the_loss_is_minus_the_advantage():
    logprob_N, advantage_N = torch.tensor([-1.0, -2.0, -0.1]), torch.tensor([0.5, -3.0, 0.0])
    tokens = clipped_surrogate(logprob_N, logprob_N, advantage_N, 0.2)
    assert torch.equal(tokens.loss, -advantage_N)
    assert torch.equal(tokens.gradient, -advantage_N)
    assert (tokens.ratio == 1).all()


def test_clipped_tokens_have_no_gradient_when_the_clip_binds():
    advantage_N = torch.tensor([1.0, -1.0, 1.0, -1.0])
    tokens = clipped_surrogate(torch.tensor([0.5, 0.5, -0.5, -0.5]), torch.zeros(4), advantage_N, 0.2)
    assert (tokens.gradient != 0).tolist() == [False, True, True, False]


def test_absurd_log_ratios_stay_finite():
    tokens = clipped_surrogate(torch.tensor([1e4, -1e4]), torch.zeros(2), -torch.ones(2), 0.2)
    assert all(column.isfinite().all() for column in tokens)
    assert not tokens.gradient.any(), "the clamp of the log-ratio has no slope"
