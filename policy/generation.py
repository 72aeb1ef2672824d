"""Sampling noise that is a pure function of (seed, step, prompt id, sample index, position)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor


def row_seed(seed: int, step: int, prompt_id: str, sample_index: int) -> int:
    """A stable seed of one response, the same in every process (32 bits: torch's CPU generator uses no more)."""
    digest = hashlib.blake2b(f"{seed}\0{step}\0{sample_index}\0{prompt_id}".encode(), digest_size=4).digest()
    return int.from_bytes(digest)


def go_on() -> None:
    """A poll that never ends anything."""


class Polled(LogitsProcessor):
    """Calls `poll` before each token; what it raises ends the generation."""

    def __init__(self, poll: Callable[[], None]) -> None:
        self.poll = poll

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The scores as they are."""
        self.poll()
        return scores


class GumbelNoise(LogitsProcessor):
    """Turns greedy decoding into sampling at a temperature (Gumbel-max: Maddison et al., arXiv 1411.0030, section 2).

    argmax_v(logits_v / temperature + g_v), g_v standard Gumbel, is a draw from softmax(logits / temperature). Each row
    draws from a generator of its own, one vocabulary a position, so what it gets does not depend on the rest of the
    batch, on other rows having finished, or on what was sampled before. Holds the log-probs of the chosen tokens.
    """

    def __init__(self, seeds: Sequence[int], temperature: float, device: torch.device) -> None:
        self.temperature = temperature
        self.generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        self.chosen: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Noisy scores [B, V] fp32 for scores = raw logits [B, V]."""
        logits_BV = scores.float() / self.temperature
        noisy_BV = logits_BV + self._gumbel(logits_BV)
        token_B1 = noisy_BV.argmax(-1, keepdim=True)
        self.chosen.append((logits_BV.gather(-1, token_B1) - logits_BV.logsumexp(-1, keepdim=True)).squeeze(-1))
        return noisy_BV

    def logprobs(self) -> Tensor:
        """Log-probs [B, t] fp32 of the tokens chosen so far; rows that have finished go on with what is never used."""
        return torch.stack(self.chosen, dim=1)

    def _gumbel(self, logits_BV: Tensor) -> Tensor:
        # fp64: the largest of 50,000 fp32 uniforms is often within a few units of 1, where -log(-log(u)) is coarse.
        noise_BV = torch.empty(logits_BV.shape, dtype=torch.float64, device=logits_BV.device)
        for row_V, generator in zip(noise_BV, self.generators, strict=True):
            torch.rand(row_V.shape, generator=generator, out=row_V)
        return noise_BV.log_().neg_().log_().neg_().float()
