"""What one policy answers to the held-out prompts: free samples, graded by gold, and log-probs of the candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from transformers import PreTrainedTokenizerBase

from sandwiching.configs.schema import CheckConfig, ModelConfig
from sandwiching.oversight.forced_choice import Question, candidate_logprobs
from sandwiching.oversight.items import Item
from sandwiching.policy.engine import RolloutEngine, Sampling
from sandwiching.policy.records import PromptBatch
from sandwiching.policy.tokenization import decode_response, encode_prompt
from sandwiching.tasks.records import Gold, Prompt

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answers:
    """One policy on N items: per item, a list over samples or over candidates.

    responses and finished (ended by end-of-text) and correct (by gold) over samples; logprobs over candidates, in nats.
    kl over samples: nats from the reference policy, exact at each token of the sample; 0 without a reference.
    """

    responses: list[list[str]]
    finished: list[list[bool]]
    correct: list[list[bool]]
    logprobs: list[list[float]]
    kl: list[list[float]]


@dataclass(frozen=True, slots=True)
class Examiner:
    """How each policy is examined: the same prompts, sampling noise and candidates for all."""

    engine: RolloutEngine
    tokenizer: PreTrainedTokenizerBase
    gold: Gold
    model: ModelConfig
    check: CheckConfig

    def examine(self, items: Sequence[Item], samples: int, seed: int, reference: Path | None = None) -> Answers:
        """Ask the policy that the engine now holds; sample i of a prompt has the same noise under every policy.

        reference: folder of the model that its KL is measured from.
        """
        responses, finished, kl = self._sample([item.prompt for item in items], samples, seed, reference)
        return Answers(
            kl=kl,
            responses=responses,
            finished=finished,
            correct=[
                [self.gold.correct(item.prompt, response) for response in row]
                for item, row in zip(items, responses, strict=True)
            ],
            logprobs=candidate_logprobs(
                self.engine,
                self.tokenizer,
                [Question(item.prompt.text, item.candidates) for item in items],
                self.model.separator,
                self.check.sampling.temperature,
            ),
        )

    def _sample(
        self, prompts: Sequence[Prompt], samples: int, seed: int, reference: Path | None
    ) -> tuple[list[list[str]], list[list[bool]], list[list[float]]]:
        tokens = [encode_prompt(self.tokenizer, prompt.text) for prompt in prompts]
        batch = PromptBatch.repeated([prompt.id for prompt in prompts], tokens, samples)
        sampling = Sampling(self.check.sampling.temperature, self.check.sampling.max_new_tokens)
        rollouts = self.engine.generate(batch, sampling, seed, 0)
        sampled = [
            row[mask].tolist() for row, mask in zip(rollouts.response_BT, rollouts.response_mask_BT, strict=True)
        ]
        texts = [decode_response(self.tokenizer, row) for row in sampled]
        kl = [0.0] * len(texts)
        if reference is not None:
            kl = self.engine.divergence(reference, batch.tokens, sampled, sampling.temperature).tolist()
        return _by_prompt(texts, samples), _by_prompt(rollouts.finished_B.tolist(), samples), _by_prompt(kl, samples)


def _by_prompt(values: list[T], samples: int) -> list[list[T]]:
    return [values[at : at + samples] for at in range(0, len(values), samples)]
