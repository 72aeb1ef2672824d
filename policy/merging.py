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
    base, prefix = (model.get_base_model(), _INNER) if isinstance(model, PeftModel) else (model, "")
    assert isinstance(base, PreTrainedModel)
    # A tied weight is held by its other name; what is under its own may be stale.
    tied = {f"{prefix}{name}" for name in base.all_tied_weights_keys}
    weights = {**model.state_dict(), **(state_dict or {})}
    weights = {name: weight for name, weight in weights.items() if name not in tied}
    sharded = [name for name, weight in weights.items() if weight.numel() == 0]
    if sharded:
        raise ValueError(f"{sharded[0]} is sharded: pass a state_dict with the whole weights (ZeRO-3)")
    if isinstance(model, PeftModel):
        return _standalone(base, merged_weights(model, weights), torch.float32)
    return _standalone(base, weights, next(iter((state_dict or weights).values())).dtype)


def merged_weights(model: PeftModel, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """fp32 weights W + scaling * B A (eq. 3) under the names of the base model, from those named as in state_dict()."""
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


def _standalone(base: PreTrainedModel, weights: Mapping[str, Tensor], dtype: torch.dtype) -> PreTrainedModel:
    """A new model of the class of `base` that holds `weights`, tied ones once."""
    config = copy.deepcopy(base.config)
    config.dtype = dtype
    with no_init_weights():
        fresh = type(base)(config)
    fresh.to(dtype=dtype)  # pyright: ignore[reportCallIssue, reportArgumentType]
    result = fresh.load_state_dict(dict(weights), strict=False)
    missing = set(result.missing_keys) - set(base.all_tied_weights_keys)
    if missing or result.unexpected_keys:
        raise ValueError(f"{type(base).__name__}: missing {sorted(missing)}, unknown {result.unexpected_keys}")
    fresh.tie_weights()
    return fresh.eval()


def _transposed(layer: LoraLayer) -> bool:
    return isinstance(layer, LoraLinear) and layer.fan_in_fan_out
