"""A model of ours as the generator that tasks.model_raters asks: a rollout engine and its tokenizer."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import AutoConfig, PreTrainedTokenizerBase

from sandwiching.configs.schema import ModelConfig
from sandwiching.policy.engine import RolloutEngine, Sampling
from sandwiching.policy.records import PromptBatch
from sandwiching.policy.tokenization import decode_response, encode_prompt, encode_response, load_tokenizer
from sandwiching.training.roles import EngineSpec, Roles

ALMOST_GREEDY = 1e-3
"""Temperature: the most probable answer, as good as always."""
SEPARATOR = " "
"""Between a question and its answer where the tokenizer has no chat template."""


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A Generator. With a chat template, a prompt is what the user says; else it is followed by `Answer:`.

    context: the most tokens of prompt and answer; longer ones are a ValueError.
    """

    engine: RolloutEngine
    tokenizer: PreTrainedTokenizerBase
    max_new_tokens: int
    context: int | None = None

    def choose(self, prompts: Sequence[str], options: Sequence[str]) -> list[list[float]]:
        """See Chooser: log-prob in nats of each option as what the answer begins with."""
        gap = "" if self.chats else SEPARATOR
        answers = [encode_response(self.tokenizer, option, False, gap) for option in options]
        tokens = [self._encode(prompt) for prompt in prompts]
        rows = [(prompt, answer) for prompt in tokens for answer in answers]
        flat = self.engine.logprobs([prompt for prompt, _ in rows], [answer for _, answer in rows], 1.0).tolist()
        return [flat[start : start + len(options)] for start in range(0, len(flat), len(options))]

    def write(self, prompts: Sequence[str]) -> list[str]:
        """See Writer: the most probable answer, at most max_new_tokens long."""
        names = tuple(hashlib.sha256(prompt.encode()).hexdigest()[:16] for prompt in prompts)
        batch = PromptBatch(names, (0,) * len(prompts), tuple(tuple(self._encode(prompt)) for prompt in prompts))
        rollouts = self.engine.generate(batch, Sampling(ALMOST_GREEDY, self.max_new_tokens), 0, 0)
        rows = zip(rollouts.response_BT, rollouts.response_mask_BT, strict=True)
        return [decode_response(self.tokenizer, row[mask].tolist()) for row, mask in rows]

    @property
    def chats(self) -> bool:
        """Whether the tokenizer has a chat template."""
        return self.tokenizer.chat_template is not None

    def _encode(self, prompt: str) -> list[int]:
        asked = ({"role": "user", "content": prompt},) if self.chats else f"{prompt}\nAnswer:"
        tokens = encode_prompt(self.tokenizer, asked)
        if self.context is not None and len(tokens) + self.max_new_tokens > self.context:
            raise ValueError(
                f"a question of {len(tokens)} tokens and an answer of {self.max_new_tokens} do not fit into the "
                f"model's context of {self.context}: {prompt!r:.80}; use a model with a longer one"
            )
        return tokens


def language_model(folder: Path, roles: Roles, max_new_tokens: int) -> LanguageModel:
    """The model in a folder of Hugging Face files, in fp32; a role that replaces the engine there was."""
    engine = roles.engine(EngineSpec(folder, ModelConfig(path=str(folder)), adapters=False))
    return LanguageModel(engine, load_tokenizer(folder), max_new_tokens, context_of(folder))


def context_of(folder: Path) -> int | None:
    """The most tokens that the model in a folder takes, where its config.json says so."""
    return getattr(AutoConfig.from_pretrained(folder), "max_position_embeddings", None)
