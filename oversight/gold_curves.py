"""Gold along PPO: every snapshot is examined on dev prompts, outside the training that made it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from safetensors.torch import load_file
from torch import Tensor

from sandwiching.oversight.answers import Answers, Examiner
from sandwiching.oversight.choice import chosen_right
from sandwiching.oversight.curves import GoldPoint
from sandwiching.oversight.items import Item
from sandwiching.oversight.trails import Point
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


def gold_point(point: Point) -> GoldPoint:
    """Mean over the dev prompts."""
    return GoldPoint(point.updates, float(np.mean(point.correct)), float(np.mean(point.forced)))


def seen(updates: int, answers: Answers, approved: Sequence[Sequence[float]]) -> Point:
    """A policy's answers after so many updates; approved: share of raters, by item and sample."""
    return Point(
        updates=updates,
        responses=answers.responses,
        finished=answers.finished,
        correct=answers.correct,
        forced=[chosen_right(row) for row in answers.logprobs],
        approved=[list(row) for row in approved],
        kl=answers.kl,
    )


Approve = Callable[[Sequence[Item], Sequence[Sequence[str]]], list[list[float]]]
"""(items, responses) -> share of raters who prefer each response to its item's anchor."""


def gold_along(
    examiner: Examiner, start: Path, artifact: Path, items: Sequence[Item], seed: int, approve: Approve
) -> list[Point]:
    """Examine every snapshot in turn; the examiner's engine holds the policy in `start`, from which PPO started."""
    points = []
    for snapshot in snapshots(artifact):
        updates = step_of(snapshot)
        examiner.engine.load_weights(snapshot_weights(snapshot), updates)
        answers = examiner.examine(items, examiner.check.samples, seed, start)
        points.append(seen(updates, answers, approve(items, answers.responses)))
    return points
