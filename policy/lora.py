"""Adapters: attach a fresh one, move its weights, hand it on merged (Hu et al., arXiv 2106.09685).

A stage trains a fresh adapter on its parent's merged model. Merges are fp32: what a young adapter adds to a weight is
below what bf16 can tell apart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.lora import Linear as LoraLinear
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sandwiching.policy.merging import ADAPTER, merged
from sandwiching.policy.verification import verify_model, verify_weights

ADAPTER_FILE = "adapter_model.safetensors"


@dataclass(frozen=True, slots=True)
class LoraSpec:
    """Shape of an adapter; its output is multiplied by alpha / rank. target_modules as PEFT names them."""

    rank: int
    alpha: int
    target_modules: str = "all-linear"


def attach(model: PreTrainedModel, spec: LoraSpec, seed: int, task_type: str) -> PeftModel:
    """`model` with a fresh adapter that does nothing yet, of the model's dtype; changes `model` in place.

    The same seed gives the same adapter and leaves the global random state alone. task_type: CAUSAL_LM or SEQ_CLS; with
    the latter the score head is trained whole. Raises ValueError when the spec names anything but linear layers.
    """
    config = LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,
        target_modules=spec.target_modules,
        lora_dropout=0.0,
        bias="none",
        task_type=task_type,
    )
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(seed)
        wrapped = get_peft_model(model, config, autocast_adapter_dtype=False)
    layers = [(name, layer) for name, layer in wrapped.named_modules() if isinstance(layer, LoraLayer)]
    odd = [name for name, layer in layers if not isinstance(layer, LoraLinear)]
    if odd:
        raise ValueError(f"model.lora.target_modules: adapters go on linear layers only, not on {odd[0]}")
    assert isinstance(wrapped, PeftModel)
    return wrapped


def adapter_weights(model: PeftModel, state_dict: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The adapter's tensors (a trained score head included), named as in PEFT's files.

    `state_dict`: take them from here, named as in model.state_dict() (ZeRO-3: gathered by the caller).
    """
    source = model.state_dict() if state_dict is None else dict(state_dict)
    return get_peft_model_state_dict(model, source, ADAPTER, save_embedding_layers=False)


def load_adapter_weights(model: PeftModel, weights: Mapping[str, Tensor]) -> None:
    """Copy `weights` (of `adapter_weights`) into the adapter. Raises ValueError unless its names are exactly these."""
    own = adapter_weights(model).keys()
    if own != weights.keys():
        missing, unknown = sorted(own - weights.keys())[:3], sorted(weights.keys() - own)[:3]
        raise ValueError(f"adapter weights: missing {missing}, unknown {unknown}")
    set_peft_model_state_dict(model, dict(weights), ADAPTER)


def export(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    model_folder: Path,
    adapter_folder: Path | None = None,
    state_dict: Mapping[str, Tensor] | None = None,
) -> None:
    """Write model and tokenizer into `model_folder`; with an adapter, merged in fp32, and the adapter by itself.

    `state_dict`: see `merged`. The model folder never has an adapter_config.json: loaders would apply the adapter
    again. Raises ValueError for weights that are not finite, OSError when what was written is not what was meant.
    """
    whole = merged(model, state_dict)
    bad = [name for name, weight in whole.state_dict().items() if not weight.isfinite().all()]
    if bad:
        raise ValueError(f"{bad[0]} is not finite; {len(bad)} such tensors. The training diverged: nothing is exported")
    whole.save_pretrained(model_folder)
    tokenizer.save_pretrained(model_folder)
    verify_model(model_folder, whole)
    if adapter_folder is not None and isinstance(model, PeftModel):
        save_adapter(model, adapter_folder, state_dict)


def save_adapter(model: PeftModel, folder: Path, state_dict: Mapping[str, Tensor] | None = None) -> None:
    """Write the adapter as PEFT would, and read it again. Raises OSError when it differs."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: weight.detach().cpu().contiguous() for name, weight in adapter_weights(model, state_dict).items()}
    save_file(weights, folder / ADAPTER_FILE, metadata={"format": "pt"})
    settings = model.peft_config[ADAPTER].to_dict()
    # PEFT keeps sets, whose order differs from process to process.
    settings = {name: sorted(value) if isinstance(value, set | list) else value for name, value in settings.items()}
    (folder / "adapter_config.json").write_text(json.dumps({**settings, "inference_mode": True}, indent=2) + "\n")
    verify_weights(folder, weights)
