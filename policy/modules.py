"""What the learner trains, as modules whose forward is all that an engine (DeepSpeed) needs to see.

Shape suffixes as in policy/records.py; D hidden size, N = B * T.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from sandwiching.policy.heads import HeadOp, apply_to_head
from sandwiching.policy.logprobs import response_hidden
from sandwiching.policy.trunk import plain, trunk_hidden
from sandwiching.policy.values import ValueHead, response_values


class PolicyModule(nn.Module):
    """A causal LM (with or without adapter), and optionally a value head on its trunk."""

    def __init__(self, model: PreTrainedModel | PeftModel, value_head: bool) -> None:
        super().__init__()
        self.model = model
        self.value_head = ValueHead(model.config.hidden_size) if value_head else None

    def forward(
        self,
        tokens_BS: Tensor,
        attention_BS: Tensor,
        prefix: int,
        response_width: int,
        op: HeadOp[Any] | None,
        reference: bool = False,
    ) -> tuple[Any, Tensor | None]:
        """What `op` makes of the response tokens' hidden states [N, D] and the LM head, and values [B, T] or None.

        Without `op`, those hidden states alone. prefix: see trunk.trunk_hidden. `reference`: without the adapter, which
        is the frozen reference of a LoRA policy.
        """
        with self.model.disable_adapter() if reference else nullcontext():  # pyright: ignore[reportCallIssue]
            hidden_BSD = trunk_hidden(self.model, tokens_BS, attention_BS, prefix)
            hidden_ND = response_hidden(hidden_BSD, response_width)
            if op is None:
                return hidden_ND, None
            result = apply_to_head(plain(self.model), hidden_ND, op)
        if self.value_head is None:
            return result, None
        return result, response_values(hidden_BSD, self.value_head, response_width)


class ValueModule(nn.Module):
    """A value model of its own, started from a reward model: its scores in the reward's normalised unit."""

    def __init__(self, model: PreTrainedModel | PeftModel, reward_mean: float, reward_std: float) -> None:
        super().__init__()
        self.model = model
        self.reward_mean = reward_mean
        self.reward_std = reward_std

    def forward(self, tokens_BS: Tensor, attention_BS: Tensor, prefix: int, response_width: int) -> Tensor:
        """Values [B, T] fp32 of the states before each response token."""
        hidden_BSD = trunk_hidden(self.model, tokens_BS, attention_BS, prefix)
        score = plain(self.model).get_submodule("score")
        raw_BT = response_values(hidden_BSD, score, response_width).squeeze(-1).float()
        return (raw_BT - self.reward_mean) / self.reward_std
