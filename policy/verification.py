"""Files of weights are read again and compared before they count."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import PreTrainedModel


def verify_model(folder: Path, model: PreTrainedModel) -> None:
    """Raise OSError unless the safetensors of `folder` hold every weight of `model` (tied ones once)."""
    tied = set(model.all_tied_weights_keys)
    if (folder / "adapter_config.json").exists():
        raise OSError(f"{folder} holds an adapter_config.json: loaders would apply an adapter a second time")
    verify_weights(folder, {name: weight for name, weight in model.state_dict().items() if name not in tied})


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors in the safetensors files of `folder`, on CPU."""
    weights = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as stream:
            weights.update({name: stream.get_tensor(name) for name in stream.keys()})  # noqa: SIM118
    return weights


def read_tensor(folder: Path, name: str) -> Tensor:
    """One tensor of the safetensors files of `folder`, on CPU. Raises OSError when none has it."""
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as stream:
            if name in stream.keys():  # noqa: SIM118
                return stream.get_tensor(name)
    raise OSError(f"{folder} holds no tensor {name}")


def verify_weights(folder: Path, meant: Mapping[str, Tensor]) -> None:
    """Raise OSError unless the safetensors of `folder` hold `meant`.

    Names may differ where Hugging Face stores a layer in another shape; then the number of elements must agree.
    """
    written = read_weights(folder)
    found, wanted = (sum(weight.numel() for weight in weights.values()) for weights in (written, meant))
    if found != wanted:
        raise OSError(f"{folder}: {found} numbers were written, {wanted} were meant; is the disk full?")
    for name in written.keys() & meant.keys():
        if not torch.equal(written[name], meant[name].cpu()):
            raise OSError(f"{folder}: {name} reads differently from what was written")
