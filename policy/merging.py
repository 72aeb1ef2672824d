"""One plain Hugging Face model from base and adapter."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from peft import PeftModel
from peft.tuners.lora import Linear as LoraLinear
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.initialization import no_init_weights

ADAPTER = "default"
_INNER = "base_model.model."


def merged(model: nn.Module, state_dict: Mapping[str, Tensor] | None = None) -> PreTrainedModel:
    """A plain Hugging Face model on CPU with base + adapter, in fp32; `model` itself stays as it is.

    A model without adapter is copied, in the dtype of its weights. `state_dict`: weights that replace those of `model`,
    named as in model.state_dict(); all or some. Raises ValueError when a weight is still sharded by ZeRO-3.
    """
    weights = {**model.state_dict(), **(state_dict or {})}
    sharded = [name for name, weight in weights.items() if weight.numel() == 0]
    if sharded:
        raise ValueError(f"{sharded[0]} is sharded: pass a state_dict with the whole weights (ZeRO-3)")
    if not isinstance(model, PeftModel):
        assert isinstance(model, PreTrainedModel)
        return _standalone(model, weights, next(iter((state_dict or weights).values())).dtype)
    return _standalone(model.get_base_model(), _merged_weights(model, weights), torch.float32)


def _merged_weights(model: PeftModel, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """fp32 weights W + scaling * B A (eq. 3) under the names of the base model."""
    result = {}
    for name, weight in weights.items():
        inner = name.removeprefix(_INNER)
        if ".lora_" in inner or ".original_module." in inner:
            continue
        inner = inner.replace(f".modules_to_save.{ADAPTER}.", ".").replace(".base_layer.", ".")
        result[inner] = weight.float().cpu()
    for name, layer in model.named_modules():
        if isinstance(layer, LoraLayer):
            down, up = (weights[f"{name}.lora_{side}.{ADAPTER}.weight"].float().cpu() for side in "AB")
            change = layer.scaling[ADAPTER] * (up @ down)
            inner = f"{name.removeprefix(_INNER)}.weight"
            # Not in place: an fp32 model's own weight is in the dict.
            result[inner] = result[inner] + (change.T if _transposed(layer) else change)
    return result


def _standalone(base: nn.Module, weights: Mapping[str, Tensor], dtype: torch.dtype) -> PreTrainedModel:
    """A new model of the class of `base` that holds `weights`."""
    assert isinstance(base, PreTrainedModel)
    config = copy.deepcopy(base.config)
    config.dtype = dtype
    with no_init_weights():
        fresh = type(base)(config)
    fresh.to(dtype=dtype)  # pyright: ignore[reportCallIssue, reportArgumentType]
    # A tied weight is held by its other name; what is under its own may be stale.
    tied = set(base.all_tied_weights_keys)
    result = fresh.load_state_dict({name: w for name, w in weights.items() if name not in tied}, strict=False)
    missing = set(result.missing_keys) - tied
    if missing or result.unexpected_keys:
        raise ValueError(f"{type(base).__name__}: missing {sorted(missing)}, unknown {result.unexpected_keys}")
    fresh.tie_weights()
    return fresh.eval()


def _transposed(layer: LoraLayer) -> bool:
    return isinstance(layer, LoraLinear) and layer.fan_in_fan_out
