"""Hidden states of a batch of sequences, what they all begin with computed once.

Chats of one system prompt, and samples of one prompt, share their first tokens; in full attention the keys and values
of those depend on nothing behind them. So they go through the trunk as one row, with gradient, and the rest of every
row reads them from the cache that Hugging Face's models generate with.

Shape suffixes: B sequences, P prompt width (left-padded), T response width (right-padded), S = P + T, L tokens shared
by all rows, D hidden size.
"""

from __future__ import annotations

import inspect
from typing import Protocol

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer


class _Output(Protocol):
    last_hidden_state: Tensor


def trunk_hidden(model: nn.Module, tokens_BS: Tensor, attention_BS: Tensor, prefix: int = 0) -> Tensor:
    """Last hidden states [B, S - L, D] of columns L .. S - 1, of the trunk below the head (plain or PEFT model).

    prefix: L, from padding.shared_prefix. A token's hidden state is the same whatever L is. Positions count real tokens
    only, so padding does not move them. Models with other than full attention (sliding windows, recurrences), and those
    that recompute activations, are given the whole rows.
    """
    model = plain(model)
    attention_BS = attention_BS.long()
    if prefix == 0 or not _reads_from_cache(model):
        position_BS = (attention_BS.cumsum(-1) - 1).clamp(min=0)
        output: _Output = model.base_model(
            input_ids=tokens_BS, attention_mask=attention_BS, position_ids=position_BS, use_cache=False
        )
        return output.last_hidden_state[:, prefix:]
    cache = _prefix_cache(model, tokens_BS, attention_BS, prefix)
    # A column is in the rest of its row when the one L before it is in the row too.
    rest_BR = attention_BS[:, prefix:] * attention_BS[:, :-prefix]
    position_BR = (prefix + rest_BR.cumsum(-1) - 1).clamp(min=0)
    output = model.base_model(
        input_ids=tokens_BS[:, prefix:],
        attention_mask=torch.cat([rest_BR.new_ones(len(rest_BR), prefix), rest_BR], dim=1),
        position_ids=position_BR,
        cache=cache,
        use_cache=True,
    )
    return output.last_hidden_state


def _prefix_cache(model: PreTrainedModel, tokens_BS: Tensor, attention_BS: Tensor, prefix: int) -> DynamicCache:
    """Keys and values of the first row's first L tokens, once a row."""
    cache = DynamicCache(config=model.config)
    column_1L = attention_BS[:1].argmax(-1, keepdim=True) + torch.arange(prefix, device=tokens_BS.device)
    model.base_model(input_ids=tokens_BS[:1].gather(1, column_1L), cache=cache, use_cache=True)
    cache.batch_repeat_interleave(len(tokens_BS))
    return cache


def _reads_from_cache(model: PreTrainedModel) -> bool:
    recomputes = model.is_activation_checkpointing and model.training
    return (
        not recomputes
        and "cache" in inspect.signature(model.base_model.forward).parameters
        and all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)
    )


def plain(model: nn.Module) -> PreTrainedModel:
    """The Hugging Face model within a PEFT wrapper, adapters in place, or the model itself."""
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    assert isinstance(inner, PreTrainedModel)
    return inner
