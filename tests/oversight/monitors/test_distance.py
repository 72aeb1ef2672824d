"""Shrinkage against the formula summed text by text, distance against the explicit inverse."""

from __future__ import annotations

import numpy as np
import pytest

from sandwiching.oversight.monitors.auroc import UndefinedError
from sandwiching.oversight.monitors.distance import Cloud, ledoit_wolf


def by_formula(features: np.ndarray) -> tuple[np.ndarray, float]:
    """Ledoit and Wolf (2004), section 3.3, with their d, b and m."""
    count, width = features.shape
    rows = features - features.mean(0)
    sample = sum(np.outer(row, row) for row in rows) / count
    m = np.trace(sample) / width
    d = np.linalg.norm(sample - m * np.eye(width)) ** 2 / width
    b = sum(np.linalg.norm(np.outer(row, row) - sample) ** 2 for row in rows) / width / count**2
    rho = min(b, d) / d
    return (1 - rho) * sample + rho * m * np.eye(width), rho


@pytest.mark.parametrize(("count", "width"), [(5, 12), (40, 7), (3, 1), (200, 3)])
def test_shrinkage_is_the_formula(count: int, width: int) -> None:
    rng = np.random.default_rng(count)
    features = rng.normal(size=(count, width)) @ rng.normal(size=(width, width)) + 5
    if width == 1:
        features = np.repeat(features, 2, 1)
    covariance, rho = ledoit_wolf(features)
    expected, expected_rho = by_formula(features)
    np.testing.assert_allclose(covariance, expected, rtol=1e-9)
    assert rho == pytest.approx(expected_rho, rel=1e-9)
    assert 0 < rho <= 1


@pytest.mark.parametrize(("count", "width"), [(6, 20), (300, 5)])
def test_distance_is_that_of_the_inverse(count: int, width: int) -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(count, width)) * np.linspace(0.1, 3, width)
    asked = rng.normal(size=(9, width)) * 4
    inverse = np.linalg.inv(ledoit_wolf(features)[0])
    expected = [np.sqrt((one - features.mean(0)) @ inverse @ (one - features.mean(0))) for one in asked]
    np.testing.assert_allclose(Cloud.of(features).distances(asked), expected, rtol=1e-8)


def test_more_texts_shrink_less() -> None:
    rng = np.random.default_rng(2)
    shape = np.diag([9.0, 1.0, 0.1])
    assert ledoit_wolf(rng.normal(size=(10, 3)) @ shape)[1] > ledoit_wolf(rng.normal(size=(1000, 3)) @ shape)[1]


@pytest.mark.parametrize("features", [np.ones((4, 3)), np.zeros((1, 3))])
def test_features_that_do_not_differ_have_no_distance(features: np.ndarray) -> None:
    with pytest.raises(UndefinedError, match=r"features of \d training texts do not differ"):
        Cloud.of(features)


def test_a_direction_without_spread_is_far_and_finite() -> None:
    features = np.array([[1.0, 0.0], [-1.0, 0.0], [2.0, 0.0], [-2.0, 0.0]] * 500)
    near, far = Cloud.of(features).distances(np.array([[1.0, 0.0], [1.0, 1.0]]))
    assert np.isfinite(far)
    assert far > 10 * near
