"""Tensors that pass between rollout engines, scorers and learners.

Shape suffixes: B sequences, P padded prompt width, T padded response width, S = P + T, M response tokens of all
sequences, one sequence behind another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import pad

from sandwiching.policy.packing import Packing
from sandwiching.policy.padding import shared_prefix


class BatchFirst:
    """Indexing, splitting and joining of records whose tensors and tuples are all B-first."""

    def select(self, index: Tensor) -> Self:
        """Rows `index` [b] (int64), in that order."""
        rows = index.tolist()
        return type(self)(
            **{
                f.name: value[index]
                if isinstance(value := getattr(self, f.name), Tensor)
                else tuple(value[i] for i in rows)
                for f in fields(self)  # pyright: ignore[reportArgumentType]
            }
        )

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """One record of all rows of `parts`; widths must agree."""
        names = [f.name for f in fields(cls)]  # pyright: ignore[reportArgumentType]
        columns = {name: [getattr(part, name) for part in parts] for name in names}
        return cls(
            **{
                name: torch.cat(values)
                if isinstance(values[0], Tensor)
                else tuple(x for value in values for x in value)
                for name, values in columns.items()
            }
        )


@dataclass(frozen=True, slots=True)
class PackedResponses:
    """Prompts and responses without padding: what a pass through a model is given.

    before_M int64: where the token before each response token stands in the packing, whose hidden state predicts it;
    target_M int64: the response tokens.
    """

    packing: Packing
    before_M: Tensor
    target_M: Tensor

    def to(self, device: torch.device | str) -> PackedResponses:
        """The same with its tensors on `device`."""
        return PackedResponses(self.packing.to(device), self.before_M.to(device), self.target_M.to(device))


class Responses(BatchFirst):
    """Records of prompts, left-padded, and their responses, right-padded."""

    tokens_BS: Tensor
    attention_BS: Tensor
    response_mask_BT: Tensor

    @property
    def response_width(self) -> int:
        """T."""
        return self.response_mask_BT.shape[1]

    @property
    def prompt_width(self) -> int:
        """P."""
        return self.tokens_BS.shape[1] - self.response_width

    def __len__(self) -> int:
        return self.tokens_BS.shape[0]

    @property
    def shared_prefix(self) -> int:
        """How many tokens all prompts begin with: see padding.shared_prefix."""
        return shared_prefix(self.tokens_BS, self.attention_BS, self.prompt_width)

    def packed(self, prefix: int) -> PackedResponses:
        """Without padding; prefix: how many tokens that all prompts begin with are held once."""
        packing = Packing.of(self.tokens_BS, self.attention_BS, prefix)
        response_BS = pad(self.response_mask_BT, (self.prompt_width, 0))
        before_M = packing.places(response_BS, self.attention_BS) - 1
        return PackedResponses(packing, before_M, self.tokens_BS[response_BS])

    def flat(self, x_BT: Tensor) -> Tensor:
        """Its values at the response tokens [M]."""
        return x_BT[self.response_mask_BT]

    def padded(self, x_M: Tensor) -> Tensor:
        """The opposite of `flat`, zeros at padding."""
        zeros_BT = torch.zeros(self.response_mask_BT.shape, dtype=x_M.dtype)
        return zeros_BT.masked_scatter(self.response_mask_BT, x_M)


@dataclass(frozen=True, slots=True)
class Texts(Responses):
    """Prompts and given responses."""

    tokens_BS: Tensor
    attention_BS: Tensor
    response_mask_BT: Tensor


@dataclass(frozen=True, slots=True)
class PromptBatch:
    """Prompts to sample for. A row is one response to be: the same prompt stands once a sample.

    prompt_ids [B] strings; sample_index [B] which sample of its prompt; tokens [B] token ids without padding.
    """

    prompt_ids: tuple[str, ...]
    sample_index: tuple[int, ...]
    tokens: tuple[tuple[int, ...], ...]

    @classmethod
    def repeated(cls, prompt_ids: Sequence[str], tokens: Sequence[Sequence[int]], samples: int) -> PromptBatch:
        """Each prompt `samples` times in a row."""
        return cls(
            prompt_ids=tuple(prompt_id for prompt_id in prompt_ids for _ in range(samples)),
            sample_index=tuple(sample for _ in prompt_ids for sample in range(samples)),
            tokens=tuple(tuple(row) for row in tokens for _ in range(samples)),
        )

    def __len__(self) -> int:
        return len(self.prompt_ids)

    def rows(self, start: int, stop: int) -> PromptBatch:
        """Rows start..stop."""
        return PromptBatch(self.prompt_ids[start:stop], self.sample_index[start:stop], self.tokens[start:stop])


@dataclass(frozen=True, slots=True)
class Rollouts(Responses):
    """Sampled responses, prompts left-padded to P and responses right-padded to T.

    tokens_BS int64; attention_BS bool (prompt and response tokens, the end-of-text included);
    response_mask_BT bool (response tokens, the end-of-text included); finished_B bool (ended by end-of-text);
    behaviour_logprobs_BT fp32, of the engine that sampled (never the "old" log-probs of PPO in bf16);
    prompt_ids [B], sample_index [B].
    """

    prompt_ids: tuple[str, ...]
    sample_index: tuple[int, ...]
    tokens_BS: Tensor
    attention_BS: Tensor
    response_mask_BT: Tensor
    finished_B: Tensor
    behaviour_logprobs_BT: Tensor

    @classmethod
    def together(cls, parts: Sequence[Self]) -> Self:
        """All rows of parts that may have prompts of different widths."""
        width = max(part.prompt_width for part in parts)
        return cls.join([part.with_prompt_width(width) for part in parts])

    def with_prompt_width(self, width: int) -> Self:
        """The same rollouts with prompts padded to `width` >= P; padding repeats the first token, out of attention."""
        extra = width - self.prompt_width
        tokens_BS = torch.cat([self.tokens_BS[:, :1].expand(-1, extra), self.tokens_BS], dim=1)
        attention_BS = torch.cat([self.attention_BS.new_zeros(len(self), extra), self.attention_BS], dim=1)
        return replace(self, tokens_BS=tokens_BS, attention_BS=attention_BS)

    @property
    def response_BT(self) -> Tensor:
        """Response token ids, padding included."""
        return self.tokens_BS[:, self.prompt_width :]


@dataclass(frozen=True, slots=True)
class Evaluation(BatchFirst):
    """What the learner knows of rollouts before the update: log-probs and values, fp32, zero where masked.

    logprobs_BT; reference_logprobs_BT and kl_BT, the exact KL(policy || reference) of each token (zeros unless the
    learner holds the reference, which it does with LoRA); values_BT (value of the state before token t; zeros without a
    value model); entropy_BT. row_B int64: which row of the rollouts each is; learners give them in the order that suits
    them.
    """

    row_B: Tensor
    logprobs_BT: Tensor
    reference_logprobs_BT: Tensor
    kl_BT: Tensor
    values_BT: Tensor
    entropy_BT: Tensor

    def in_order(self) -> Evaluation:
        """As the rollouts are."""
        return self.select(self.row_B.argsort())


@dataclass(frozen=True, slots=True)
class PPOBatch(Responses):
    """What one update trains on: rollouts' tokens and masks, old log-probs and values, advantages, returns (fp32)."""

    tokens_BS: Tensor
    attention_BS: Tensor
    response_mask_BT: Tensor
    logprobs_BT: Tensor
    values_BT: Tensor
    advantages_BT: Tensor
    returns_BT: Tensor
