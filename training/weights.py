"""From what a trainer trained to what the next stage loads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from deepspeed.utils import safe_get_full_fp32_param
from peft import PeftModel
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerBase
from trl.trainer.utils import disable_dropout_in_model

from sandwiching.configs.schema import LoraConfig
from sandwiching.policy.lora import LoraSpec, attach, export
from sandwiching.training import distributed
from sandwiching.training.artifacts import StageFolder

PERSISTENT_ROWS = 10
"""Under ZeRO-3 parameters below 10 hidden sizes (norms, biases) stay whole, as Hugging Face's `auto` has it."""


def persistence_threshold(folder: Path) -> int:
    """Elements below which ZeRO-3 leaves a parameter of the model in `folder` whole."""
    return PERSISTENT_ROWS * AutoConfig.from_pretrained(folder).get_text_config().hidden_size


def lora_spec(lora: LoraConfig | None) -> LoraSpec | None:
    """The adapter's shape as policy/ takes it."""
    return LoraSpec(lora.rank, lora.alpha, lora.target_modules) if lora else None


def trainable(
    model: PreTrainedModel, lora: LoraConfig | None, seed: int, task_type: str
) -> PreTrainedModel | PeftModel:
    """The model itself without dropout, or with a fresh adapter whose start is fixed by the seed."""
    disable_dropout_in_model(model)
    spec = lora_spec(lora)
    return model if spec is None else attach(model, spec, seed, task_type)


def master_weights(module: nn.Module) -> dict[str, Tensor]:
    """The fp32 master copy of every trained parameter by name, on the CPU of rank 0; other ranks, which must call too,
    get nothing: a node would hold the model once a rank otherwise."""
    weights = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            whole = safe_get_full_fp32_param(parameter)
            if distributed.rank() == 0:
                weights[name] = (parameter.detach() if whole is None else whole).float().cpu().clone()
    return weights


def export_trained(
    model: PreTrainedModel | PeftModel,
    weights: Mapping[str, Tensor],
    tokenizer: PreTrainedTokenizerBase,
    folder: StageFolder,
) -> None:
    """Write model/ and, with LoRA, adapter/, from the start in fp32 and the trained fp32 weights.

    Starting from the parent's files again keeps the rounding of bf16 working copies out of the merge, and only trained
    parameters had to be gathered over the ranks.
    """
    adapter = folder.adapter if isinstance(model, PeftModel) else None
    export(model, tokenizer, folder.model, adapter, dict(weights))
