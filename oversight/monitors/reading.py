"""Frozen models read over texts, for monitors: hidden states of a policy, features and scores of reward models.

Shapes: N texts, D features, K members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import AutoConfig, PreTrainedModel

from sandwiching.oversight.spread import Array
from sandwiching.policy.engine import TransformersEngine
from sandwiching.policy.loading import load_score_model
from sandwiching.policy.packing import Packing
from sandwiching.policy.trunk import plain
from sandwiching.policy.values import raw_scores
from sandwiching.reward_model.normalise import normalised
from sandwiching.training.devices import compute_dtype, default_device
from sandwiching.training.readout import last_token_hidden, read_texts

TextIds = Sequence[Sequence[int]]


def policy_hidden(engine: TransformersEngine, texts: TextIds, micro_batch: int) -> Tensor:
    """Hidden state [N, D] fp32 at the last token of each text, of the policy that the engine now holds."""
    return read_texts(last_token_hidden, plain(engine.model), texts, micro_batch)


@dataclass(frozen=True, slots=True)
class MemberReading:
    """What one reward model makes of texts: features_ND of its last token, rewards_N normalised."""

    features_ND: Array
    rewards_N: Array


def read_member(folder: Path, texts: TextIds, precision: str, micro_batch: int) -> MemberReading:
    """Of the model in `folder`, which is loaded for this and let go again; equal texts are read once."""
    model = load_score_model(folder, compute_dtype(precision))
    model.to(default_device())  # pyright: ignore[reportArgumentType]
    place: dict[tuple[int, ...], int] = {}
    at = [place.setdefault(tuple(ids), len(place)) for ids in texts]
    both = read_texts(_hidden_and_score, model.eval(), list(place), micro_batch)[at].double()
    rewards_N = normalised(both[:, -1], AutoConfig.from_pretrained(folder))
    return MemberReading(both[:, :-1].numpy(), rewards_N.numpy())


def _hidden_and_score(model: PreTrainedModel, texts: Packing) -> Tensor:
    hidden_BD = last_token_hidden(model, texts)
    return torch.cat([hidden_BD.float(), raw_scores(model, hidden_BD)[:, None].float()], dim=1)


def spread_of(readings: Sequence[MemberReading]) -> Array:
    """Deviation of the members' rewards [N], divisor K."""
    return np.stack([one.rewards_N for one in readings]).std(0)


def load_policy(engine: TransformersEngine, weights: Mapping[str, Tensor] | None, start: Path, updates: int) -> None:
    """Have the engine hold a snapshot's weights, or the model that the run began with."""
    if weights is None:
        engine.load(start, updates)
    else:
        engine.load_weights(weights, updates)
