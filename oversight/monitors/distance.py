"""Mahalanobis distance from a cloud of features, with a shrunken covariance. Shapes: N texts, D features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sandwiching.oversight.monitors.auroc import UndefinedError
from sandwiching.oversight.spread import Array


def ledoit_wolf(features_ND: Array) -> tuple[Array, float]:
    """Covariance [D, D], (1 - rho) S + rho tr(S)/D I, and rho, the least expected squared error (Ledoit, Wolf 2004).

    S is the covariance with divisor N. Raises UndefinedError for fewer than two texts, or features that never differ.
    """
    count, width = features_ND.shape
    centred_ND = features_ND - features_ND.mean(0)
    sample_DD = centred_ND.T @ centred_ND / max(count, 1)
    scale = float(np.trace(sample_DD)) / width
    if count < 2 or not scale > 0:
        raise UndefinedError(f"the features of {count} training texts do not differ: there is no distance from them")
    target_DD = scale * np.eye(width)
    square = float(((sample_DD - target_DD) ** 2).sum())
    # Sum over texts of |x x' - S|^2, without forming any x x'.
    noise = (float((centred_ND**2).sum(1) @ (centred_ND**2).sum(1)) - count * float((sample_DD**2).sum())) / count**2
    rho = min(max(noise, 0.0), square) / square if square > 0 else 1.0
    return (1 - rho) * sample_DD + rho * target_DD, rho


@dataclass(frozen=True, slots=True)
class Cloud:
    """mean_D and whitening_DD (W with W' W = inverse covariance) of a cloud; shrinkage: rho of its covariance."""

    mean_D: Array
    whitening_DD: Array
    shrinkage: float

    @classmethod
    def of(cls, features_ND: Array) -> Cloud:
        """Fitted to features. Raises UndefinedError, see ledoit_wolf."""
        covariance_DD, rho = ledoit_wolf(features_ND)
        values_D, vectors_DD = np.linalg.eigh(covariance_DD)
        # Directions without any spread count as if they had that of rounding.
        safe_D = np.maximum(values_D, values_D.max() * 1e-12)
        return cls(features_ND.mean(0), (vectors_DD / np.sqrt(safe_D)).T, rho)

    def distances(self, features_ND: Array) -> Array:
        """sqrt((z - mean)' covariance^-1 (z - mean)) [N]."""
        return np.sqrt((((features_ND - self.mean_D) @ self.whitening_DD.T) ** 2).sum(1))
