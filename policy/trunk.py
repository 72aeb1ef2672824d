"""Hidden states of a batch of sequences, what they all begin with computed once.

Chats under one system prompt share their first tokens; in full attention the keys and values of those depend on nothing
behind them. So they go through the trunk as one row, with gradient, and the rest of every row reads them from the cache
that Hugging Face's models generate with.

Shape suffixes: B sequences, S columns, L tokens shared by all rows, R = S - L, D hidden size.
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
    """Last hidden states [B, R, D] of columns L .. S - 1, of the trunk below the head (plain or PEFT model).

    prefix: L, from padding.shared_prefix; 0 for models of which `shares_prefix` is false. Positions count real tokens
    only, so padding does not move them.
    """
    model = plain(model)
    attention_BS = attention_BS.long()
    if prefix:
        return _hidden_behind_prefix(model, tokens_BS, attention_BS, prefix)
    position_BS = (attention_BS.cumsum(-1) - 1).clamp(min=0)
    output: _Output = model.base_model(
        input_ids=tokens_BS, attention_mask=attention_BS, position_ids=position_BS, use_cache=False
    )
    return output.last_hidden_state


def _hidden_behind_prefix(model: PreTrainedModel, tokens_BS: Tensor, attention_BS: Tensor, prefix: int) -> Tensor:
    """The rest of each row starts right behind the prefix: some models measure distance by column (ALiBi)."""
    B, S = tokens_BS.shape
    start_B1 = attention_BS.argmax(-1, keepdim=True)
    column_R = torch.arange(S - prefix, device=tokens_BS.device)
    place_BR = (start_B1 + prefix + column_R).clamp(max=S - 1)
    real_BR = attention_BS.gather(1, place_BR) * (start_B1 + prefix + column_R < S)
    cache = DynamicCache(config=model.config)
    prefix_1L = tokens_BS[:1].gather(1, start_B1[:1] + torch.arange(prefix, device=tokens_BS.device))
    model.base_model(input_ids=prefix_1L, cache=cache, use_cache=True)
    cache.batch_repeat_interleave(B)
    output: _Output = model.base_model(
        input_ids=tokens_BS.gather(1, place_BR),
        attention_mask=torch.cat([real_BR.new_ones(B, prefix), real_BR], dim=1),
        position_ids=(prefix + real_BR.cumsum(-1) - 1).clamp(min=0),
        cache=cache,
        use_cache=True,
    )
    back_BR = (column_R - start_B1).clamp(min=0)
    return output.last_hidden_state.take_along_dim(back_BR[:, :, None], dim=1)


def shares_prefix(model: nn.Module) -> bool:
    """Whether the model can compute a shared prefix once.

    Not with other than full attention (sliding windows, recurrences), with rotary frequencies that depend on a text's
    length, or when activations are recomputed, which Hugging Face does not combine with a cache.
    """
    model = plain(model)
    rope = getattr(model.config, "rope_parameters", None) or {}
    return (
        not (model.is_activation_checkpointing and model.training)
        and rope.get("rope_type", "default") not in ("dynamic", "longrope")
        and "cache" in inspect.signature(model.base_model.forward).parameters
        and all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)
    )


def plain(model: nn.Module) -> PreTrainedModel:
    """The Hugging Face model within a PEFT wrapper, adapters in place, or the model itself."""
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    assert isinstance(inner, PreTrainedModel)
    return inner
