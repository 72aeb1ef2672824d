"""What the learner trains, as modules whose forward is all that an engine (DeepSpeed) needs to see.

Shape suffixes as in policy/records.py; D hidden size.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from sandwiching.policy.heads import HeadOp, apply_to_head
from sandwiching.policy.records import PackedResponses
from sandwiching.policy.trunk import plain, trunk_hidden
from sandwiching.policy.values import ValueHead, raw_scores


class PolicyModule(nn.Module):
    """A causal LM (with or without adapter), and optionally a value head on its trunk."""

    def __init__(self, model: PreTrainedModel | PeftModel, value_head: bool) -> None:
        super().__init__()
        self.model = model
        self.value_head = ValueHead(model.config.hidden_size) if value_head else None

    def forward(
        self, responses: PackedResponses, op: HeadOp[Any] | None, reference: bool = False
    ) -> tuple[Any, Tensor | None]:
        """What `op` makes of the hidden states [M, D] before the response tokens and the LM head; values [M] or None.

        Without `op`, those hidden states alone. `reference`: without the adapter, which is the frozen reference of a
        LoRA policy.
        """
        with self.model.disable_adapter() if reference else nullcontext():  # pyright: ignore[reportCallIssue]
            hidden_MD = trunk_hidden(self.model, responses.packing)[responses.before_M]
            if op is None:
                return hidden_MD, None
            result = apply_to_head(plain(self.model), hidden_MD, op)
        return result, None if self.value_head is None else self.value_head(hidden_MD)


class ValueModule(nn.Module):
    """A value model of its own, started from a reward model: its scores in the reward's normalised unit."""

    def __init__(self, model: PreTrainedModel | PeftModel, reward_mean: float, reward_std: float) -> None:
        super().__init__()
        self.model = model
        self.reward_mean = reward_mean
        self.reward_std = reward_std

    def forward(self, responses: PackedResponses) -> Tensor:
        """Values [M] fp32 of the states before each response token."""
        hidden_MD = trunk_hidden(self.model, responses.packing)[responses.before_M]
        return (raw_scores(self.model, hidden_MD) - self.reward_mean) / self.reward_std
