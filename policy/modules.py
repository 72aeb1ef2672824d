"""What the learner trains, as modules whose forward is all that an engine (DeepSpeed) needs to see.

Shape suffixes as in policy/records.py; D hidden size.
"""

from __future__ import annotations

from contextlib import nullcontext

from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from sandwiching.policy.logprobs import logprobs_from_hidden, plain, trunk_hidden
from sandwiching.policy.values import ValueHead, response_values


class PolicyModule(nn.Module):
    """A causal LM (with or without adapter), and optionally a value head on its trunk."""

    def __init__(self, model: PreTrainedModel | PeftModel, temperature: float, value_head: bool) -> None:
        super().__init__()
        self.model = model
        self.temperature = temperature
        self.value_head = ValueHead(model.config.hidden_size) if value_head else None

    def forward(
        self, tokens_BS: Tensor, attention_BS: Tensor, response_width: int, reference: bool = False
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Response log-probs and entropies [B, T] fp32, and values [B, T] when there is a value head.

        `reference`: without the adapter, which is the frozen reference of a LoRA policy.
        """
        with self.model.disable_adapter() if reference else nullcontext():  # pyright: ignore[reportCallIssue]
            hidden_BSD = trunk_hidden(self.model, tokens_BS, attention_BS)
            logprobs_BT, entropy_BT = logprobs_from_hidden(
                self.model, hidden_BSD, tokens_BS, response_width, self.temperature
            )
        if self.value_head is None:
            return logprobs_BT, entropy_BT, None
        return logprobs_BT, entropy_BT, response_values(hidden_BSD, self.value_head, response_width)


class ValueModule(nn.Module):
    """A value model of its own, started from a reward model: its scores in the reward's normalised unit."""

    def __init__(self, model: PreTrainedModel | PeftModel, reward_mean: float, reward_std: float) -> None:
        super().__init__()
        self.model = model
        self.reward_mean = reward_mean
        self.reward_std = reward_std

    def forward(self, tokens_BS: Tensor, attention_BS: Tensor, response_width: int) -> Tensor:
        """Values [B, T] fp32 of the states before each response token."""
        hidden_BSD = trunk_hidden(self.model, tokens_BS, attention_BS)
        score = plain(self.model).get_submodule("score")
        raw_BT = response_values(hidden_BSD, score, response_width).squeeze(-1).float()
        return (raw_BT - self.reward_mean) / self.reward_std
