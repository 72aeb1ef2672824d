"""Scores rollouts: the reward ensemble, normalised member by member, and the frozen reference where one is needed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sandwiching.policy.generation import go_on
from sandwiching.policy.loading import load_causal_lm
from sandwiching.policy.logprobs import response_logprobs
from sandwiching.policy.records import Rollouts
from sandwiching.policy.trunk import packs
from sandwiching.training.devices import compute_dtype, default_device
from sandwiching.training.members import load_members
from sandwiching.training.passes import all_rows, plan_passes
from sandwiching.training.roles import ScorerSpec, Scores


class TransformersScorer:
    """Stateless scorer; holds every member and perhaps the reference.

    poll: called before each pass, unless what is scored cannot be made again; what it raises ends the call.
    """

    def __init__(self, spec: ScorerSpec, micro_batch: int, poll: Callable[[], None] = go_on) -> None:
        self.poll = go_on if spec.ahead else poll
        self.micro_batch = micro_batch
        self.temperature = spec.temperature
        self.device = default_device()
        dtype = compute_dtype(spec.model.precision)
        self.members = load_members(spec, dtype)
        self.reference: PreTrainedModel | None = None
        if spec.reference is not None:
            self.reference = load_causal_lm(spec.reference, dtype).eval()
            self.reference.to(self.device)  # pyright: ignore[reportArgumentType]
        models = [*self.members.models, *([self.reference] if self.reference else [])]
        self.packs = all(packs(model) for model in models)

    @torch.no_grad()
    def score(self, rollouts: Rollouts) -> Scores:
        """Normalised rewards [K, B], and reference log-probs [B, T] when a reference is held."""
        prefix = rollouts.shared_prefix if self.packs else 0
        tokens_B = rollouts.attention_BS.sum(1) - prefix
        passes = [rows for (rows,) in plan_passes(tokens_B, all_rows(tokens_B), self.micro_batch, prefix)]
        scored = [self._score_rows(rollouts.select(rows), prefix) for rows in passes]
        order_B = torch.cat(passes).argsort()
        references = [reference_BT for _, reference_BT in scored if reference_BT is not None]
        return Scores(
            rewards_KB=torch.cat([rewards_KB for rewards_KB, _ in scored], dim=1)[:, order_B],
            reference_logprobs_BT=torch.cat(references)[order_B] if references else None,
        )

    def _score_rows(self, rows: Rollouts, prefix: int) -> tuple[Tensor, Tensor | None]:
        self.poll()
        responses = rows.packed(prefix).to(self.device)
        rewards_KB = self.members.rewards(responses.packing)
        reference_BT = None
        if self.reference is not None:
            logprob_M, _ = response_logprobs(self.reference, responses, self.temperature)
            reference_BT = rows.padded(logprob_M.cpu())
        return rewards_KB.cpu(), reference_BT
