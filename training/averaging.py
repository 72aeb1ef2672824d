"""An exponential moving average of trained weights; its state is part of every checkpoint."""

from __future__ import annotations

from typing import Any

from torch import Tensor


class WeightAverage:
    """weights <- decay * weights + (1 - decay) * new, in fp32 on CPU."""

    def __init__(self, decay: float, weights: dict[str, Tensor]) -> None:
        self.decay = decay
        self.weights = {name: tensor.clone() for name, tensor in weights.items()}

    def update(self, weights: dict[str, Tensor]) -> None:
        """Move towards `weights`."""
        for name, tensor in weights.items():
            self.weights[name].lerp_(tensor, 1 - self.decay)

    def state_dict(self) -> dict[str, Any]:
        """The averaged weights."""
        return dict(self.weights)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Back to `state`."""
        self.weights = {name: tensor.clone() for name, tensor in state.items()}
