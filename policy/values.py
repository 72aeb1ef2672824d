"""Heads that give one number for a hidden state: values of states, scores of texts. D hidden size."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sandwiching.policy.trunk import plain


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


def raw_scores(model: nn.Module, hidden: Tensor) -> Tensor:
    """Raw scores [...] fp32 of hidden states [..., D], by the head of a reward model (plain or PEFT)."""
    return plain(model).get_submodule("score")(hidden).squeeze(-1).float()
