import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sandwiching.policy.kl import KL_CONTROLLERS, KL_ESTIMATORS, AdaptiveKL, FixedKL, k1, k2, k3


@given(st.floats(-15, 15))
def test_estimators_equal_their_formulas(log_ratio: float):
    x = torch.tensor(log_ratio, dtype=torch.float64)
    assert k1(x).item() == log_ratio
    assert k2(x).item() == pytest.approx(log_ratio**2 / 2)
    assert k3(x).item() == pytest.approx(math.exp(-log_ratio) - 1 + log_ratio, rel=1e-9, abs=1e-12)


@given(st.floats(-1e6, 1e6))
def test_k2_and_k3_are_finite_and_never_negative(log_ratio: float):
    x = torch.tensor(log_ratio, dtype=torch.float64)
    for estimator in (k2, k3):
        assert estimator(x).isfinite()
        assert estimator(x) >= 0


def test_k3_is_exact_for_small_ratios_in_fp32():
    x = torch.tensor(1e-3)
    assert k3(x).item() == pytest.approx(math.exp(-1e-3) - 1 + 1e-3, rel=1e-3)


def test_k1_and_k3_are_unbiased_and_k2_nearly():
    generator = torch.Generator().manual_seed(0)
    policy_V = torch.randn(8, generator=generator, dtype=torch.float64).log_softmax(-1)
    reference_V = (policy_V + 0.3 * torch.randn(8, generator=generator, dtype=torch.float64)).log_softmax(-1)
    exact = (policy_V.exp() * (policy_V - reference_V)).sum()
    expectations = {name: (policy_V.exp() * f(policy_V - reference_V)).sum() for name, f in KL_ESTIMATORS.items()}
    assert exact > 0.01
    torch.testing.assert_close(expectations["k1"], exact)
    torch.testing.assert_close(expectations["k3"], exact)
    torch.testing.assert_close(expectations["k2"], exact, rtol=0.2, atol=0)


def test_gradients_at_equal_policies():
    for name, slope in (("k1", 1.0), ("k2", 0.0), ("k3", 0.0)):
        x = torch.zeros((), requires_grad=True)
        KL_ESTIMATORS[name](x).backward()
        assert x.grad is not None
        assert x.grad.item() == slope


@pytest.mark.parametrize(
    ("kl", "episodes", "factor"),
    [
        (6.0, 100, 1.0),
        (6.6, 100, 1 + 0.1 * 0.01),
        (5.4, 100, 1 - 0.1 * 0.01),
        (600.0, 100, 1 + 0.2 * 0.01),
        (-3.0, 100, 1 - 0.2 * 0.01),
        (0.0, 10**9, 0.8),
    ],
)
def test_the_adaptive_coefficient_follows_ziegler(kl: float, episodes: int, factor: float):
    controller = AdaptiveKL(0.05, target=6.0, horizon=10_000)
    controller.update(kl, episodes)
    assert controller.coefficient == pytest.approx(0.05 * factor, rel=1e-12)


def test_its_unit_is_nats_a_sequence():
    """Ten tokens of 0.6 nats are on target 6; their token mean would be far below it."""
    kl_BT = torch.full((4, 10), 0.6)
    by_sequence, by_token = (AdaptiveKL(1.0, 6.0, 100) for _ in range(2))
    by_sequence.update(float(kl_BT.sum(1).mean()), 4)
    by_token.update(float(kl_BT.mean()), 4)
    assert by_sequence.coefficient == pytest.approx(1.0)
    assert by_token.coefficient < 1


@given(st.lists(st.tuples(st.floats(-100, 100), st.integers(1, 10**6)), max_size=50))
def test_the_coefficient_stays_positive(updates: list[tuple[float, int]]):
    controller = AdaptiveKL(0.05, 6.0, 10_000)
    for kl, episodes in updates:
        controller.update(kl, episodes)
    assert controller.coefficient > 0


@pytest.mark.parametrize("name", ["fixed", "adaptive"])
def test_a_controller_resumes_where_it_was(name: str):
    controller = KL_CONTROLLERS[name](0.05, 6.0, 100)
    controller.update(9.0, 64)
    resumed = KL_CONTROLLERS[name](0.05, 6.0, 100)
    resumed.load_state_dict(controller.state_dict())
    for one in (controller, resumed):
        one.update(1.0, 64)
    assert resumed.coefficient == controller.coefficient
    assert (controller.coefficient == 0.05) == (name == "fixed")


def test_bad_targets_are_refused():
    with pytest.raises(ValueError, match=r"kl\.target"):
        AdaptiveKL(0.1, 0.0, 10)
    assert FixedKL(0.1).coefficient == 0.1
