"""Hidden states of packed texts. Shape suffixes as in packing.py; D hidden size."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from sandwiching.policy.attention import PACKED, PackedMask
from sandwiching.policy.packing import Packing


class _Output(Protocol):
    last_hidden_state: Tensor


def trunk_hidden(model: nn.Module, packing: Packing) -> Tensor:
    """Last hidden states [N, D] of the trunk below the head (plain or PEFT model).

    A model that `packs` computes each token of the packing once; any other gets rows of whole texts, for which
    packing.prefix must be 0.
    """
    model = plain(model)
    if not packs(model):
        return _hidden_of_rows(model, packing)
    output: _Output = model.base_model(
        input_ids=packing.tokens_N[None],
        attention_mask=PackedMask.of(packing, model.dtype),
        position_ids=packing.position_N[None],
        use_cache=False,
    )
    return output.last_hidden_state[0]


def _hidden_of_rows(model: PreTrainedModel, packing: Packing) -> Tensor:
    assert packing.prefix == 0, f"{type(model).__name__} shares no prefix"
    output: _Output = model.base_model(
        input_ids=packing.tokens_N[packing.place_BR],
        attention_mask=packing.real_BR.long(),
        position_ids=packing.position_N[packing.place_BR],
        use_cache=False,
    )
    return output.last_hidden_state[packing.real_BR]


@torch.no_grad()
def layer_states(model: nn.Module, tokens: Sequence[int]) -> Tensor:
    """What each decoder layer makes of a text's last token: [layers, D] fp32 on the CPU, before the final norm."""
    trunk, states = plain(model).base_model, list[Tensor]()

    def keep(_: nn.Module, __: tuple[Any, ...], output: Tensor | tuple[Tensor, ...]) -> None:
        states.append((output if isinstance(output, Tensor) else output[0])[0, -1].float().cpu())

    layers = next(module for module in trunk.modules() if isinstance(module, nn.ModuleList))
    hooks = [layer.register_forward_hook(keep) for layer in layers]
    trunk(input_ids=torch.tensor([list(tokens)], device=plain(model).device), use_cache=False)
    for hook in hooks:
        hook.remove()
    return torch.stack(states)


def pack_attention(model: PreTrainedModel) -> None:
    """Have the model attend by attention.py, if that is all that packed texts need.

    Not with other than full attention (sliding windows, recurrences), with distances by column (ALiBi), soft caps or
    sinks, or with rotary frequencies that depend on a text's length.
    """
    config = model.config
    rope = getattr(config, "rope_parameters", None) or {}
    if (
        model._supports_attention_backend
        and "position_ids" in inspect.signature(model.base_model.forward).parameters
        and all(type(layer) is DynamicLayer for layer in DynamicCache(config=config).layers)
        and rope.get("rope_type", "default") not in ("dynamic", "longrope")
        and not any(getattr(config, name, None) for name in ("alibi", "attn_logit_softcapping"))
    ):
        model.set_attn_implementation(PACKED)


def packs(model: nn.Module) -> bool:
    """Whether the model computes packed texts as such: see `pack_attention`, which loading calls."""
    return plain(model).config._attn_implementation == PACKED


def plain(model: nn.Module) -> PreTrainedModel:
    """The Hugging Face model within a PEFT wrapper, adapters in place, or the model itself."""
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    assert isinstance(inner, PreTrainedModel)
    return inner
