"""The roles of PPO as Protocols: the same loop runs in one process and on groups of workers.

A stage asks a `Roles` factory for engines, scorers and learners by specs; `launch` decides where they live.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from sandwiching.configs.schema import ModelConfig, PPOConfig, ResourcesConfig
from sandwiching.policy.engine import RolloutEngine
from sandwiching.policy.records import Evaluation, PPOBatch, Rollouts
from sandwiching.training.artifacts import StageFolder


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """A generation engine for the model in `folder`; with `adapters` it takes a LoRA adapter's weights later.

    kind: transformers or vllm. ahead: it samples while the learner trains.
    """

    folder: Path
    model: ModelConfig
    adapters: bool
    kind: str = "transformers"
    ahead: bool = False


@dataclass(frozen=True, slots=True)
class ScorerSpec:
    """Reward members, and the frozen reference where the learner cannot give it (full fine-tuning).

    kind: of several members (training/members.py); full: nothing is shared. trunk: what adapters were trained on.
    ahead: it scores what was sampled ahead.
    """

    members: tuple[Path, ...]
    reference: Path | None
    model: ModelConfig
    temperature: float
    kind: str = "full"
    trunk: Path | None = None
    ahead: bool = False


@dataclass(frozen=True, slots=True)
class LearnerSpec:
    """The policy to train, and the reward model that its value model starts from."""

    policy: Path
    value: Path | None
    model: ModelConfig
    ppo: PPOConfig
    seed: int


@dataclass(frozen=True, slots=True)
class Scores:
    """rewards_KB fp32, one row a member, normalised; reference_logprobs_BT fp32 or None (the learner gives it)."""

    rewards_KB: Tensor
    reference_logprobs_BT: Tensor | None

    @classmethod
    def join(cls, parts: Sequence[Scores]) -> Scores:
        """Of all rows of `parts`."""
        references = [part.reference_logprobs_BT for part in parts if part.reference_logprobs_BT is not None]
        rewards_KB = torch.cat([part.rewards_KB for part in parts], dim=1)
        return cls(rewards_KB, torch.cat(references) if references else None)


class Scorer(Protocol):
    """Stateless: reward ensemble and reference."""

    def score(self, rollouts: Rollouts) -> Scores:
        """Scores of every rollout."""
        ...


class Learner(Protocol):
    """Policy and value under training."""

    def evaluate(self, rollouts: Rollouts, step: int) -> Evaluation:
        """What the policy, its reference (LoRA) and the value model say before the update; rows in any order."""
        ...

    def update(self, batch: PPOBatch, step: int, may_stop: bool = False) -> dict[str, float]:
        """All epochs of one PPO step; returns its statistics.

        may_stop: raises Stopped between optimiser steps when asked to; what it holds then is half a step's.
        """
        ...

    def weights(self) -> Mapping[str, Tensor]:
        """What an engine needs to sample from the present policy: adapter, or all weights.

        They may be the learner's own: copy what must outlast the next update.
        """
        ...

    def layer_states(self, tokens: Sequence[int]) -> Tensor:
        """What each decoder layer makes of a text's last token: [layers, D] fp32."""
        ...

    def peak_flops(self) -> float:
        """FLOP/s of large matrix products on the learner's devices together."""
        ...

    def save(self, directory: Path) -> None:
        """Weights, optimisers and RNG of every rank as they are now, into a checkpoint that is not sealed yet.

        Files may be written after it returns.
        """
        ...

    def writing(self) -> bool:
        """See saving.Files."""
        ...

    def flush(self) -> None:
        """See saving.Files."""
        ...

    def load(self, directory: Path) -> None:
        """Back to what `save` wrote."""
        ...

    def snapshot(self, directory: Path) -> None:
        """Weights that check and monitors read."""
        ...

    def export(self, folder: StageFolder) -> None:
        """The final policy in Hugging Face format, into the stage's model/ and adapter/."""
        ...


class Roles(Protocol):
    """Makes roles where there is room for them."""

    resources: ResourcesConfig
    apart: bool
    """Whether roles have devices of their own, so that two can work at once."""

    def engine(self, spec: EngineSpec) -> RolloutEngine:
        """A generation engine."""
        ...

    def scorer(self, spec: ScorerSpec) -> Scorer:
        """A scorer."""
        ...

    def learner(self, spec: LearnerSpec) -> Learner:
        """A learner, over resources.learner_ranks ranks."""
        ...
