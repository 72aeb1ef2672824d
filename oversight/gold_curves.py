"""Gold along PPO: every snapshot is examined on dev prompts, outside the training that made it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.torch import load_file
from torch import Tensor

from sandwiching.oversight.answers import Answers, Examiner
from sandwiching.oversight.choice import chosen_right
from sandwiching.oversight.curves import GoldPoint
from sandwiching.oversight.items import Item
from sandwiching.training.checkpoints import step_of


def snapshot_weights(snapshot: Path) -> dict[str, Tensor]:
    """The adapter's or the model's weights of a snapshot.

    Raises ValueError when the folder holds none.
    """
    files = sorted(snapshot.glob("*.safetensors"))
    if not files:
        raise ValueError(f"{snapshot} holds no safetensors: delete its artifact to train it again")
    return {name: tensor for file in files for name, tensor in load_file(file).items()}


def snapshots(artifact: Path) -> list[Path]:
    """Snapshots of a PPO artifact, oldest first."""
    return sorted((artifact / "snapshots").glob("step_*"), key=step_of)


def gold_point(updates: int, answers: Answers) -> GoldPoint:
    """Mean over the dev prompts."""
    free = float(np.mean([np.mean(row) for row in answers.correct]))
    return GoldPoint(updates, free, float(np.mean([chosen_right(row) for row in answers.logprobs])))


def gold_along(examiner: Examiner, artifact: Path, items: Sequence[Item], seed: int) -> list[GoldPoint]:
    """Examine every snapshot in turn; the examiner's engine starts from the policy that PPO started from."""
    points = []
    for snapshot in snapshots(artifact):
        updates = step_of(snapshot)
        examiner.engine.load_weights(snapshot_weights(snapshot), updates)
        points.append(gold_point(updates, examiner.examine(items, examiner.check.samples, seed)))
    return points
