"""Estimates of KL(policy || reference) from sampled tokens, and what sets the penalty's coefficient.

Estimators: Schulman, "Approximating KL divergence" (2020), with log_ratio = log policy - log reference of the sampled
token. Their mean over the policy's own tokens estimates the KL in nats (k1 and k3 without bias, k2 with little).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor

from sandwiching.kernels.surrogate import LOG_RATIO_LIMIT


def k1(log_ratio: Tensor) -> Tensor:
    """log_ratio itself: unbiased, of either sign."""
    return log_ratio


def k2(log_ratio: Tensor) -> Tensor:
    """log_ratio^2 / 2: never negative, slightly biased, gradient unbiased."""
    return 0.5 * log_ratio.square()


def k3(log_ratio: Tensor) -> Tensor:
    """exp(-log_ratio) - 1 + log_ratio: unbiased and never negative."""
    return torch.expm1((-log_ratio).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)) + log_ratio


KL_ESTIMATORS: dict[str, Callable[[Tensor], Tensor]] = {"k1": k1, "k2": k2, "k3": k3}


class KLController(Protocol):
    """Holds the coefficient of the KL penalty, in reward units a nat."""

    coefficient: float

    def update(self, kl_per_sequence_nats: float, episodes: int) -> None:
        """After a step of `episodes` responses with this mean KL (summed over the tokens of each response)."""
        ...

    def state_dict(self) -> dict[str, float]:
        """What a checkpoint needs."""
        ...

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Back to a checkpoint."""
        ...


class FixedKL:
    """The same coefficient throughout."""

    def __init__(self, coefficient: float) -> None:
        self.coefficient = coefficient

    def update(self, kl_per_sequence_nats: float, episodes: int) -> None:
        """Nothing changes."""

    def state_dict(self) -> dict[str, float]:
        """The coefficient."""
        return {"coefficient": self.coefficient}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """The coefficient of `state`."""
        self.coefficient = state["coefficient"]


class AdaptiveKL(FixedKL):
    """Proportional control towards a target KL (Ziegler et al., arXiv 1909.08593, section 2.2).

    target: nats a sequence; horizon: episodes. error = clip(KL / target - 1, -0.2, 0.2), and the coefficient is
    multiplied by 1 + error * episodes / horizon, with episodes / horizon at most 1 so that it stays positive.
    """

    def __init__(self, coefficient: float, target: float, horizon: int) -> None:
        super().__init__(coefficient)
        if target <= 0 or horizon <= 0:
            raise ValueError(f"kl.target={target} and kl.horizon={horizon} must be above 0")
        self.target = target
        self.horizon = horizon

    def update(self, kl_per_sequence_nats: float, episodes: int) -> None:
        """Raise the coefficient when KL is above the target, lower it when below."""
        error = min(max(kl_per_sequence_nats / self.target - 1, -0.2), 0.2)
        self.coefficient *= 1 + error * min(episodes / self.horizon, 1)


def _fixed(coefficient: float, target: float, horizon: int) -> KLController:
    return FixedKL(coefficient)


KL_CONTROLLERS: dict[str, Callable[[float, float, int], KLController]] = {"fixed": _fixed, "adaptive": AdaptiveKL}
