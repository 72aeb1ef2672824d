"""Scores rollouts: the reward ensemble, normalised member by member, and the frozen reference where one is needed."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sandwiching.policy.loading import load_causal_lm, load_score_model
from sandwiching.policy.logprobs import response_logprobs
from sandwiching.policy.records import Rollouts
from sandwiching.reward_model.normalise import normalised
from sandwiching.training.devices import compute_dtype, default_device
from sandwiching.training.readout import last_token_scores
from sandwiching.training.roles import ScorerSpec, Scores


class TransformersScorer:
    """Stateless scorer; holds every member and perhaps the reference."""

    def __init__(self, spec: ScorerSpec, micro_batch: int) -> None:
        self.micro_batch = micro_batch
        self.temperature = spec.temperature
        self.device = default_device()
        dtype = compute_dtype(spec.model.precision)
        members = [load_score_model(folder, dtype) for folder in spec.members]
        self.members = [self._placed(member) for member in members]
        self.reference = None
        if spec.reference is not None:
            self.reference = self._placed(load_causal_lm(spec.reference, dtype))

    def _placed(self, model: PreTrainedModel) -> PreTrainedModel:
        model.to(self.device)  # pyright: ignore[reportArgumentType]
        return model.eval()

    @torch.no_grad()
    def score(self, rollouts: Rollouts) -> Scores:
        """Normalised rewards [K, B], and reference log-probs [B, T] when a reference is held."""
        prefix = rollouts.shared_prefix
        parts = torch.arange(len(rollouts)).split(self.micro_batch)
        scored = [self._score_rows(rollouts.select(rows).to(self.device), prefix) for rows in parts]
        references = [part.reference_logprobs_BT for part in scored if part.reference_logprobs_BT is not None]
        return Scores(
            rewards_KB=torch.cat([part.rewards_KB for part in scored], dim=1),
            reference_logprobs_BT=torch.cat(references) if references else None,
        )

    def _score_rows(self, rows: Rollouts, prefix: int) -> Scores:
        rewards = [
            normalised(last_token_scores(member, rows.tokens_BS, rows.attention_BS), member.config)
            for member in self.members
        ]
        return Scores(torch.stack(rewards).cpu(), self._reference(rows, prefix))

    def _reference(self, rows: Rollouts, prefix: int) -> Tensor | None:
        if self.reference is None:
            return None
        logprobs_BT, _ = response_logprobs(
            self.reference, rows.tokens_BS, rows.attention_BS, rows.response_width, self.temperature, prefix
        )
        return (logprobs_BT * rows.response_mask_BT).cpu()
