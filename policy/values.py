"""Values of the states before each response token. Shape suffixes as in policy/records.py; D hidden size."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ValueHead(nn.Linear):
    """One number from a hidden state; zero at first, so that values start at the mean of normalised rewards."""

    def __init__(self, hidden: int) -> None:
        super().__init__(hidden, 1)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """fp32 values [...] of hidden states [..., D]."""
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.to(self.weight.dtype)).squeeze(-1).float()


def response_values(hidden_BSD: Tensor, head: nn.Module, response_width: int) -> Tensor:
    """Values [B, T] of the states before each response token (positions P - 1 .. S - 2), from a head that squeezes."""
    return head(hidden_BSD[:, -response_width - 1 : -1])
