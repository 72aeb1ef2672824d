"""The members of a reward ensemble in memory: what they share is held once, and computed once where it can be.

    full   a model each, a forward pass each
    lora   in fp32 one trunk (the parent's) and an adapter and a head each; a forward pass each. In bf16 as full: base
           plus adapter rounds differently from the merged weights that gave reward_mean and reward_std
    probe  one trunk, a head each; one forward pass gives every score

Shape suffixes: K members, B texts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel
from trl.trainer.reward_trainer import suppress_seqcls_warning

from sandwiching.policy.heads import float32_linear
from sandwiching.policy.loading import load_score_model
from sandwiching.policy.packing import Packing
from sandwiching.policy.verification import read_tensor
from sandwiching.reward_model.heads import score_head
from sandwiching.reward_model.normalise import normalised
from sandwiching.training.artifacts import MANIFEST, BrokenArtifact, read_manifest
from sandwiching.training.devices import default_device
from sandwiching.training.readout import last_token_hidden, last_token_scores
from sandwiching.training.roles import ScorerSpec


class Members(Protocol):
    """An ensemble on this process's device. models: what is in memory of it."""

    models: list[nn.Module]

    def rewards(self, texts: Packing) -> Tensor:
        """Normalised scores [K, B] fp32."""
        ...


class Separate:
    """A whole model each."""

    def __init__(self, spec: ScorerSpec, dtype: torch.dtype) -> None:
        self.models: list[nn.Module] = [_placed(load_score_model(folder, dtype)) for folder in spec.members]
        self.configs = _configs(spec)

    def rewards(self, texts: Packing) -> Tensor:
        """See Members."""
        both = zip(self.models, self.configs, strict=True)
        return torch.stack([normalised(last_token_scores(model, texts), config) for model, config in both])


class Heads:
    """Members of kind probe: the trunk of the first, and every head."""

    def __init__(self, spec: ScorerSpec, dtype: torch.dtype) -> None:
        self.trunk = _placed(load_score_model(spec.members[0], dtype))
        self.models: list[nn.Module] = [self.trunk]
        self.configs = _configs(spec)
        head = score_head(self.trunk)
        self.weight_KD = self._stacked(spec, "score.weight", head.weight)
        self.bias_K = None if head.bias is None else self._stacked(spec, "score.bias", head.bias)

    @staticmethod
    def _stacked(spec: ScorerSpec, name: str, like: Tensor) -> Tensor:
        return torch.cat([read_tensor(folder, name) for folder in spec.members]).to(like)

    def rewards(self, texts: Packing) -> Tensor:
        """See Members."""
        scores_BK = float32_linear(last_token_hidden(self.trunk, texts), self.weight_KD, self.bias_K)
        return torch.stack([normalised(scores_BK[:, k], config) for k, config in enumerate(self.configs)])


class Adapters:
    """Members of kind lora: the parent's trunk under each adapter in turn."""

    def __init__(self, spec: ScorerSpec, dtype: torch.dtype) -> None:
        assert spec.trunk is not None
        self.configs = _configs(spec)
        self.names = [f"member_{k}" for k in range(len(spec.members))]
        with suppress_seqcls_warning():
            trunk = load_score_model(spec.trunk, dtype, num_labels=1, pad_token_id=self.configs[0].pad_token_id)
        adapters = [str(folder.parent / "adapter") for folder in spec.members]
        options: dict[str, Any] = {"autocast_adapter_dtype": False}
        self.model = PeftModel.from_pretrained(trunk, adapters[0], adapter_name=self.names[0], **options)
        for name, folder in zip(self.names[1:], adapters[1:], strict=True):
            self.model.load_adapter(folder, adapter_name=name, **options)
        self.model.to(default_device()).eval()
        self.models: list[nn.Module] = [self.model]

    def rewards(self, texts: Packing) -> Tensor:
        """See Members."""
        rewards = []
        for name, config in zip(self.names, self.configs, strict=True):
            self.model.set_adapter(name)
            rewards.append(normalised(last_token_scores(self.model, texts), config))
        return torch.stack(rewards)


SHARED: dict[str, Callable[[ScorerSpec, torch.dtype], Members]] = {"full": Separate, "lora": Adapters, "probe": Heads}
"""How an ensemble of members of one kind is held."""


def load_members(spec: ScorerSpec, dtype: torch.dtype) -> Members:
    """One member alone is its exported model, whatever its kind; which others share, configs/algebra.py says too.

    Raises BrokenArtifact when members that should share a trunk were not trained on the same one.
    """
    rounds = spec.kind == "lora" and dtype != torch.float32
    if len(spec.members) == 1 or spec.kind == "full" or rounds:
        return Separate(spec, dtype)
    _require_one_trunk([folder.parent for folder in spec.members], spec)
    return SHARED[spec.kind](spec, dtype)


def _require_one_trunk(artifacts: Sequence[Path], spec: ScorerSpec) -> None:
    """By the keys in their manifests; the files' hashes were compared when the stage began."""
    first, *others = [_trunk_of(artifact) for artifact in artifacts]
    for artifact, other in zip(artifacts[1:], others, strict=True):
        if other != first:
            raise BrokenArtifact(
                f"{artifact} was trained on the trunk {json.dumps(other)}, {artifacts[0]} on {json.dumps(first)}: "
                "members of one ensemble share their parent"
            )
    if spec.kind == "lora" and spec.trunk is not None and first["sft"] is not None:
        held = read_manifest(spec.trunk.parent).key if (spec.trunk.parent / MANIFEST).exists() else None
        if held != first["sft"]:
            raise BrokenArtifact(f"{artifacts[0]} is an adapter of sft {first['sft']}, not of {spec.trunk} ({held})")


def _trunk_of(artifact: Path) -> dict[str, Any]:
    """The SFT stage that a reward model started from, or the base model's content hash."""
    manifest = read_manifest(artifact)
    return {"sft": manifest.parents.get("sft"), "base": manifest.inputs.get("base")}


def _configs(spec: ScorerSpec) -> list[PretrainedConfig]:
    return [AutoConfig.from_pretrained(folder) for folder in spec.members]


def _placed(model: PreTrainedModel) -> PreTrainedModel:
    model.to(default_device())  # pyright: ignore[reportArgumentType]
    return model.eval()
