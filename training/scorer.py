"""Scores rollouts: the reward ensemble, normalised member by member, and the frozen reference where one is needed."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from sandwiching.policy.logprobs import response_logprobs
from sandwiching.policy.records import Rollouts
from sandwiching.reward_model.heads import last_token_scores
from sandwiching.reward_model.normalise import normalised
from sandwiching.training.devices import compute_dtype, default_device
from sandwiching.training.roles import Scores, ScorerSpec


class TransformersScorer:
    """Stateless scorer; holds every member and perhaps the reference."""

    def __init__(self, spec: ScorerSpec, micro_batch: int) -> None:
        self.micro_batch = micro_batch
        self.temperature = spec.temperature
        self.device = default_device()
        dtype = compute_dtype(spec.model.precision)
        self.members = [self._load(AutoModelForSequenceClassification, folder, dtype) for folder in spec.members]
        self.reference = self._load(AutoModelForCausalLM, spec.reference, dtype) if spec.reference else None

    def _load(self, kind: type, folder: Path, dtype: torch.dtype) -> torch.nn.Module:
        return kind.from_pretrained(folder, dtype=dtype).to(self.device).eval()  # pyright: ignore

    @torch.no_grad()
    def score(self, rollouts: Rollouts) -> Scores:
        """Normalised rewards [K, B], and reference log-probs [B, T] when a reference is held."""
        parts = torch.arange(len(rollouts)).split(self.micro_batch)
        scored = [self._score_rows(rollouts.select(rows).to(self.device)) for rows in parts]
        references = [part.reference_logprobs_BT for part in scored if part.reference_logprobs_BT is not None]
        return Scores(
            rewards_KB=torch.cat([part.rewards_KB for part in scored], dim=1),
            reference_logprobs_BT=torch.cat(references) if references else None,
        )

    def _score_rows(self, rows: Rollouts) -> Scores:
        rewards = [
            normalised(last_token_scores(member, rows.tokens_BS, rows.attention_BS), member.config)
            for member in self.members
        ]
        return Scores(torch.stack(rewards).cpu(), self._reference(rows))

    def _reference(self, rows: Rollouts) -> Tensor | None:
        if self.reference is None:
            return None
        width = rows.response_mask_BT.shape[1]
        logprobs_BT, _ = response_logprobs(self.reference, rows.tokens_BS, rows.attention_BS, width, self.temperature)
        return (logprobs_BT * rows.response_mask_BT).cpu()
