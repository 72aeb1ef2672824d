"""Which prompts a PPO step uses: a pure function of the seed and of how many were consumed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from sandwiching.policy.records import PromptBatch


class PromptQueue:
    """Prompts in a new order each epoch. Its only state is the consumed frontier."""

    def __init__(self, prompt_ids: Sequence[str], tokens: Sequence[Sequence[int]], seed: int) -> None:
        self.prompt_ids = tuple(prompt_ids)
        self.tokens = tuple(tuple(row) for row in tokens)
        self.seed = seed
        self.consumed = 0

    def take(self, count: int, samples: int) -> PromptBatch:
        """The next `count` prompts, each `samples` times in a row."""
        rows = [self._row(self.consumed + i) for i in range(count)]
        self.consumed += count
        return PromptBatch.repeated([self.prompt_ids[row] for row in rows], [self.tokens[row] for row in rows], samples)

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
