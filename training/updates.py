"""Losses of one optimiser step as closures, one a pass; their sum over passes and ranks is the loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial

import torch
from torch import Tensor

from sandwiching.configs.schema import PPOConfig
from sandwiching.policy.losses import clipped_value_loss, policy_loss_op
from sandwiching.policy.records import PPOBatch
from sandwiching.training.engine import TrainingEngine

Losses = Sequence[Callable[[], Tensor]]


class Sums:
    """Running sums of a step's statistics, on CPU."""

    def __init__(self) -> None:
        self.totals: dict[str, Tensor] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Add each value to the sum of its name."""
        for name, value in values.items():
            self.totals[name] = self.totals.get(name, torch.zeros(())) + value.detach().float().cpu()


def policy_losses(
    engine: TrainingEngine,
    passes: Sequence[PPOBatch],
    prefix: int,
    tokens: Tensor,
    ppo: PPOConfig,
    sums: Sums,
) -> Losses:
    """Clipped surrogate, entropy bonus, and the value loss of a value head on the trunk.

    prefix: see policy/packing.py. tokens: response tokens of the whole optimiser step, the denominator that makes the
    loss independent of ranks.
    """

    def loss(rows: PPOBatch) -> Tensor:
        responses = rows.packed(prefix).to(engine.device)
        old_M, advantage_M = (rows.flat(x_BT).to(engine.device) for x_BT in (rows.logprobs_BT, rows.advantages_BT))
        settings = ppo.sampling.temperature, ppo.clip_range, ppo.entropy_coefficient
        op = policy_loss_op(responses.target_M, old_M, advantage_M, *settings, tokens)
        (total, statistics), values_M = engine(responses, op)
        sums.add({field.name: getattr(statistics, field.name) for field in fields(statistics)})
        return total if values_M is None else total + _value_loss(values_M, rows, tokens, ppo, sums)

    return [partial(loss, rows) for rows in passes]


def value_losses(
    engine: TrainingEngine,
    passes: Sequence[PPOBatch],
    prefix: int,
    tokens: Tensor,
    ppo: PPOConfig,
    sums: Sums,
) -> Losses:
    """Clipped value loss of a value model of its own."""

    def loss(rows: PPOBatch) -> Tensor:
        values_M = engine(rows.packed(prefix).to(engine.device))
        return _value_loss(values_M, rows, tokens, ppo, sums)

    return [partial(loss, rows) for rows in passes]


def _value_loss(values_M: Tensor, rows: PPOBatch, tokens: Tensor, ppo: PPOConfig, sums: Sums) -> Tensor:
    old_M, returns_M = (rows.flat(x_BT).to(values_M.device) for x_BT in (rows.values_BT, rows.returns_BT))
    loss = clipped_value_loss(values_M, old_M, returns_M, ppo.value_clip_range, tokens)
    sums.add({"value_loss": loss})
    return ppo.value_coefficient * loss
