"""Prompts that fit, and which of them a PPO step uses: a pure function of the seed and of how many were consumed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from sandwiching.policy.records import PromptBatch
from sandwiching.policy.tokenization import encode_prompt
from sandwiching.tasks.judgements import KIND
from sandwiching.tasks.records import Prompt
from sandwiching.training.batching import within_length


def label(prompt: Prompt) -> str:
    """How messages name a prompt: in a file of judgements its id is a hash, so its first words stand beside it."""
    return f"{prompt.id} {prompt.text!r:.40}" if prompt.kind == KIND else prompt.id


def fitting_prompts(
    prompts: Sequence[Prompt],
    tokenizer: PreTrainedTokenizerBase,
    *,
    room: int,
    max_length: int,
    too_long: str,
) -> tuple[list[Prompt], list[list[int]]]:
    """Prompts that leave `room` tokens for a response, and their token ids; the others are listed.

    Raises ValueError when there are others and `too_long` is error, or none is left.
    """
    tokens = [encode_prompt(tokenizer, prompt.text) for prompt in prompts]
    lengths = [len(row) + room for row in tokens]
    what = f"prompts with {room} tokens for a response"
    kept = within_length(lengths, [label(prompt) for prompt in prompts], max_length, too_long, what)
    if not kept:
        raise ValueError(f"none of {len(prompts)} {what} fits model.max_length={max_length}; raise it")
    return [prompts[i] for i in kept], [tokens[i] for i in kept]


class PromptQueue:
    """Prompts in a new order each epoch. Its only state is the consumed frontier."""

    def __init__(self, prompt_ids: Sequence[str], tokens: Sequence[Sequence[int]], seed: int) -> None:
        self.prompt_ids = tuple(prompt_ids)
        self.tokens = tuple(tuple(row) for row in tokens)
        self.seed = seed
        self.consumed = 0

    def at(self, ahead: int, count: int, samples: int) -> PromptBatch:
        """`count` prompts, `ahead` of the frontier, each `samples` times in a row."""
        rows = [self._row(self.consumed + ahead + i) for i in range(count)]
        return PromptBatch.repeated([self.prompt_ids[row] for row in rows], [self.tokens[row] for row in rows], samples)

    def consume(self, count: int) -> None:
        """The next `count` prompts have been trained on."""
        self.consumed += count

    def _row(self, position: int) -> int:
        epoch, place = divmod(position, len(self.prompt_ids))
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        return int(torch.randperm(len(self.prompt_ids), generator=generator)[place])

    def state_dict(self) -> dict[str, Any]:
        """The consumed frontier."""
        return {"consumed": self.consumed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on behind the frontier."""
        self.consumed = state["consumed"]
