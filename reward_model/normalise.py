"""Scores in a common unit: reference texts have mean 0 and deviation 1.

The model's config.json holds `reward_mean` and `reward_std`; its weights stay as trained, so that plain transformers
reads the same raw scores.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

from torch import Tensor
from transformers import PretrainedConfig


def reference_statistics(scores_N: Tensor) -> tuple[float, float]:
    """Mean and deviation (ddof = 0) of raw scores of reference texts.

    Raises ValueError when they are not finite, or all the same, so that there is no unit.
    """
    mean = scores_N.double().mean().item()
    deviation = scores_N.double().std(correction=0).item()
    if not math.isfinite(mean) or not deviation > 0:
        raise ValueError(
            f"the reward model scores all {len(scores_N)} reference texts alike (mean {mean}, deviation {deviation}): "
            "it has not learned; look at reward_model.optimizer.learning_rate and at the judgements"
        )
    return mean, deviation


def normalised(scores: Tensor, config: PretrainedConfig) -> Tensor:
    """Raw scores, of any shape, in units of the reference deviation from the reference mean."""
    return (scores - config.reward_mean) / config.reward_std


def write_statistics(model_folder: Path, mean: float, deviation: float) -> None:
    """Put both numbers into the config.json of a saved model."""
    file = model_folder / "config.json"
    config = json.loads(file.read_text()) | {"reward_mean": mean, "reward_std": deviation}
    file.write_text(json.dumps(config, indent=2) + "\n")
