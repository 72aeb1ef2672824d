"""Where a stage's trunk comes from: the SFT model, or the base model where there is no SFT."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sandwiching.configs.schema import ModelConfig
from sandwiching.policy.base_models import resolve


def base_folder(model: ModelConfig, parents: Mapping[str, Path]) -> Path:
    """Folder of Hugging Face files to start from."""
    return parents["sft"] / "model" if "sft" in parents else resolve(model.path, model.revision)
