"""Which of several answers of equal format a policy finds most probable: knowing, apart from having learnt a format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from sandwiching.policy.engine import RolloutEngine
from sandwiching.policy.tokenization import encode
from sandwiching.tasks.records import Text


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt and its candidate answers, the right one first."""

    prompt: Text
    candidates: tuple[str, ...]


def candidate_logprobs(
    engine: RolloutEngine,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Question],
    separator: str,
    temperature: float,
) -> list[list[float]]:
    """Summed log-prob in nats of each candidate, its end-of-text included, in the order of the candidates."""
    rows = [
        encode(tokenizer, question.prompt, candidate, True, separator)
        for question in questions
        for candidate in question.candidates
    ]
    flat = engine.logprobs([prompt for prompt, _ in rows], [response for _, response in rows], temperature).tolist()
    place, answer = 0, []
    for question in questions:
        answer.append(flat[place : place + len(question.candidates)])
        place += len(question.candidates)
    return answer
