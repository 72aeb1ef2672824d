"""Where a stage's trunk comes from: the SFT model, else the base model, as it was taught or as it came."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sandwiching.configs.schema import ModelConfig
from sandwiching.policy.base_models import resolve


def base_folder(model: ModelConfig, parents: Mapping[str, Path]) -> Path:
    """Folder of Hugging Face files to start from."""
    for stage in ("sft", "plant"):
        if stage in parents:
            return parents[stage] / "model"
    return resolve(model.path, model.revision)
