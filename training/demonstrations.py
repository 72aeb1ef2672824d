"""Demonstrations as token ids. Apart from the trainer, so that a run can look at them before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from sandwiching.configs.schema import ModelConfig
from sandwiching.policy.tokenization import encode
from sandwiching.tasks.records import Demonstration
from sandwiching.training.batching import IGNORED, within_length
from sandwiching.training.prompts import label


def demonstration_rows(
    tokenizer: PreTrainedTokenizerBase, demonstrations: Sequence[Demonstration], model: ModelConfig, too_long: str
) -> list[tuple[list[int], list[int]]]:
    """(input_ids, labels) a demonstration; labels are -100 on the prompt."""
    rows = []
    for demonstration in demonstrations:
        prompt, response = encode(tokenizer, demonstration.prompt.text, demonstration.response, True, model.separator)
        rows.append((prompt + response, [IGNORED] * len(prompt) + response))
    names = [label(demonstration.prompt) for demonstration in demonstrations]
    kept = within_length([len(ids) for ids, _ in rows], names, model.max_length, too_long, "demonstrations")
    return [rows[i] for i in kept]
