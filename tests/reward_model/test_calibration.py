"""As sure as right? Against planted temperatures, loops, and by hand."""

import numpy as np
import pytest

from sandwiching.reward_model.calibration import calibration, fit_temperature, proper_scores


def draw(count, stretch, seed=0):
    """Outcomes of differences, and the differences as an overconfident model (stretch > 1) gives them."""
    random = np.random.default_rng(seed)
    true_E = 1.5 * random.normal(size=count)
    target_E = (random.random(count) < 1 / (1 + np.exp(-true_E))).astype(float)
    return stretch * true_E, target_E, np.arange(count) // 3


def test_a_calibrated_model_has_no_error_and_needs_no_temperature():
    found = calibration(*draw(20_000, 1.0))
    assert found is not None
    assert found.raw.ece < 0.015
    assert found.temperature == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("stretch", [0.4, 2.5])
def test_a_planted_temperature_is_found_and_mends(stretch):
    found = calibration(*draw(20_000, stretch))
    assert found is not None
    assert found.temperature == pytest.approx(stretch, rel=0.06)
    assert found.raw.ece > 0.07 > 0.02 > found.scaled.ece
    assert found.scaled.nll < found.raw.nll
    assert found.scaled.brier < found.raw.brier


def test_what_the_temperature_is_judged_on_did_not_fit_it():
    """Noise alone: a temperature fitted on the judged half itself could only help."""
    random = np.random.default_rng(3)
    gains = []
    for _ in range(40):
        delta_E, target_E = 0.3 * random.normal(size=24), random.integers(0, 2, 24).astype(float)
        found = calibration(delta_E, target_E, np.arange(24))
        assert found is not None
        gains.append(found.raw.nll - found.scaled.nll)
        own = proper_scores(delta_E / fit_temperature(delta_E, target_E), target_E)
        assert own.nll <= found.raw.nll + 1e-9
    assert min(gains) < 0


def test_scores_by_a_loop():
    delta_E, target_E, _ = draw(137, 2.0)
    target_E[::9] = 0.5
    p = 1 / (1 + np.exp(-delta_E))
    found = proper_scores(delta_E, target_E)
    assert found.brier == pytest.approx(np.mean([(a - b) ** 2 for a, b in zip(p, target_E, strict=True)]))
    nll = [-(t * np.log(a) + (1 - t) * np.log(1 - a)) for a, t in zip(p, target_E, strict=True)]
    assert found.nll == pytest.approx(np.mean(nll))
    rows = sorted(
        (max(a, 1 - a), 0.5 if t == 0.5 else float((a > 0.5) == (t == 1))) for a, t in zip(p, target_E, strict=True)
    )
    parts = np.array_split(np.array(rows), 10)
    ece = sum(len(part) / 137 * abs(part[:, 1].mean() - part[:, 0].mean()) for part in parts)
    assert found.ece == pytest.approx(ece)
    assert [one.judgements for one in found.bins] == [len(part) for part in parts]


def test_huge_differences_few_judgements_and_none():
    found = proper_scores(np.array([1e4, -1e4]), np.array([1.0, 1.0]))
    assert found.nll == pytest.approx(5e3)
    assert len(found.bins) == 1
    assert calibration(np.zeros(0), np.zeros(0), np.zeros(0, dtype=np.int64)) is None
    against = fit_temperature(np.array([1.0, -1.0]), np.array([0.0, 1.0]))
    assert against == pytest.approx(100.0)
