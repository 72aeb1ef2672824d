"""What one policy answers to the held-out prompts: free samples, graded by gold, and log-probs of the candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from sandwiching.configs.schema import CheckConfig, ModelConfig
from sandwiching.oversight.forced_choice import Question, candidate_logprobs
from sandwiching.oversight.items import Item
from sandwiching.policy.engine import RolloutEngine, Sampling
from sandwiching.policy.records import PromptBatch
from sandwiching.policy.tokenization import decode_response, encode_prompt
from sandwiching.tasks.records import Gold, Prompt


@dataclass(frozen=True, slots=True)
class Answers:
    """One policy on N items: per item, a list over samples or over candidates.

    responses and finished (ended by end-of-text) and correct (by gold) over samples; logprobs over candidates, in nats.
    """

    responses: list[list[str]]
    finished: list[list[bool]]
    correct: list[list[bool]]
    logprobs: list[list[float]]


@dataclass(frozen=True, slots=True)
class Examiner:
    """How each policy is examined: the same prompts, sampling noise and candidates for all."""

    engine: RolloutEngine
    tokenizer: PreTrainedTokenizerBase
    gold: Gold
    model: ModelConfig
    check: CheckConfig

    def examine(self, items: Sequence[Item], samples: int, seed: int) -> Answers:
        """Ask the policy that the engine now holds; sample i of a prompt has the same noise under every policy."""
        responses, finished = self._sample([item.prompt for item in items], samples, seed)
        return Answers(
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

    def _sample(self, prompts: Sequence[Prompt], samples: int, seed: int) -> tuple[list[list[str]], list[list[bool]]]:
        tokens = [encode_prompt(self.tokenizer, prompt.text) for prompt in prompts]
        batch = PromptBatch.repeated([prompt.id for prompt in prompts], tokens, samples)
        sampling = Sampling(self.check.sampling.temperature, self.check.sampling.max_new_tokens)
        rollouts = self.engine.generate(batch, sampling, seed, 0)
        texts = [
            decode_response(self.tokenizer, row[mask].tolist())
            for row, mask in zip(rollouts.response_BT, rollouts.response_mask_BT, strict=True)
        ]
        ended = rollouts.finished_B.tolist()
        starts = range(0, len(texts), samples)
        return [texts[at : at + samples] for at in starts], [ended[at : at + samples] for at in starts]
