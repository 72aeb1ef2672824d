"""Heads over a trunk's hidden states that compute in fp32 from half-precision weights.

Logits rounded to bf16 move a token's log-prob by up to 8e-2, more than PPO's clip range forgives in a few tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from sandwiching.kernels.head import bf16_products

H = TypeVar("H", bound=nn.Linear)
R = TypeVar("R")

HeadOp = Callable[[Tensor, Tensor, Tensor | None], R]
"""(hidden [N, D], weight [V, D], bias [V] or None) -> whatever an op of kernels.ops makes of them."""


class Float32Head(nn.Linear):
    """A linear layer whose output is fp32 whatever its weight is; the weight keeps its dtype and its name."""

    @classmethod
    def of(cls, head: nn.Linear) -> Float32Head:
        """The same weight (shared, so it stays tied) under another forward."""
        return _sharing(cls, head)

    def forward(self, input: Tensor) -> Tensor:
        """fp32 logits [..., V] of hidden states [..., D]."""
        return float32_linear(input, self.weight, self.bias)


class OpHead(nn.Linear):
    """An LM head that runs an op on its weight, in place of giving logits; the weight keeps its dtype and its name.

    ZeRO-3 gathers a weight only while its own module is called, so the module itself has to do all that needs it.
    """

    @classmethod
    def of(cls, head: nn.Linear) -> OpHead:
        """The same weight (shared, so it stays tied) under another forward."""
        return _sharing(cls, head)

    def forward(self, hidden_ND: Tensor, op: HeadOp[R]) -> R:  # pyright: ignore[reportIncompatibleMethodOverride]
        """What `op` makes of hidden states, weight and bias."""
        return op(hidden_ND, self.weight, self.bias)


def use_op_head(model: PreTrainedModel) -> None:
    """Replace the model's LM head in place, before deepspeed.initialize; the model gives no logits any more.

    Raises ValueError when the head is not a linear layer.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise ValueError(f"{type(model).__name__}: its output embeddings are {type(head).__name__}, not a linear layer")
    model.set_output_embeddings(OpHead.of(head))


# What some families do to the logits behind the head, with the value that does nothing.
_LOGIT_TRANSFORMS = {"final_logit_softcapping": None, "logit_scale": 1.0, "logits_scaling": 1.0}


def apply_to_head(model: PreTrainedModel, hidden_ND: Tensor, op: HeadOp[R]) -> R:
    """What `op` makes of hidden states and the LM head of `model`.

    Raises ValueError for a model whose logits are more than a linear layer of its hidden states.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise ValueError(f"{type(model).__name__} has no linear LM head, but {type(head).__name__}")
    settings = model.config.to_dict()
    for name, neutral in _LOGIT_TRANSFORMS.items():
        if settings.get(name, neutral) not in (neutral, None):
            raise ValueError(f"{type(model).__name__}: {name}={settings[name]} changes the logits behind the head")
    return head(hidden_ND, op) if isinstance(head, OpHead) else op(hidden_ND, head.weight, head.bias)


def _sharing(cls: type[H], head: nn.Linear) -> H:
    with torch.device("meta"):
        wrapped = cls(head.in_features, head.out_features, bias=head.bias is not None)
    wrapped.weight = head.weight
    wrapped.bias = head.bias
    return wrapped


def float32_linear(hidden: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """fp32 hidden @ weight.T + bias, whatever the autocast state.

    Half-precision operands are upcast, which loses nothing; oneDNN may then multiply those of bf16 as they were, with
    fp32 sums (measured on CPU: error 4e-6, twice as fast as fp32).
    """
    with torch.autocast(hidden.device.type, enabled=False):
        if weight.dtype == torch.float32:
            return F.linear(hidden.float(), weight, bias)
        # Of fp16 operands the products would lose bits.
        with bf16_products() if weight.dtype == torch.bfloat16 else nullcontext():
            return F.linear(hidden.to(weight.dtype).float(), weight.float(), None if bias is None else bias.float())
