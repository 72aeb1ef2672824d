"""Judgements as token ids and columns, with a share of the prompts kept aside."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sandwiching.configs.schema import ModelConfig
from sandwiching.policy.tokenization import encode
from sandwiching.reward_model.columns import JudgementColumns
from sandwiching.tasks.readers import JudgementRow, read_judgements
from sandwiching.tasks.records import Text
from sandwiching.training.batching import within_length

FILE = "judgements.jsonl.gz"
TARGETS = {"a": 1.0, "tie": 0.5, "b": 0.0}
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RewardData:
    """Unique texts (prompt + response ids), judgements to train on, and judgements of the prompts kept aside."""

    texts: tuple[tuple[int, ...], ...]
    train: JudgementColumns
    dev: JudgementColumns


def load_reward_data(
    artifact: Path,
    tokenizer: PreTrainedTokenizerBase,
    model: ModelConfig,
    too_long: str,
    dev_share: float,
    seed: int,
) -> RewardData:
    """Everything in a judgements artifact.

    Raises ValueError when texts are too long and too_long is error, or nothing is left.
    """
    return reward_data(read_judgements(artifact / FILE), tokenizer, model, too_long, dev_share, seed)


def reward_data(
    rows: Sequence[JudgementRow],
    tokenizer: PreTrainedTokenizerBase,
    model: ModelConfig,
    too_long: str,
    dev_share: float,
    seed: int,
) -> RewardData:
    """The same of given judgements."""
    texts, text_a, text_b, kept = usable_judgements(rows, tokenizer, model, too_long)
    columns = judgement_columns([rows[i] for i in kept], [text_a[i] for i in kept], [text_b[i] for i in kept])
    aside_E = torch.isin(columns.prompt_E, _aside(columns.prompt_names, dev_share, seed))
    return RewardData(tuple(tuple(ids) for ids in texts), columns.select(~aside_E), columns.select(aside_E))


def usable_judgements(
    rows: Sequence[JudgementRow], tokenizer: PreTrainedTokenizerBase, model: ModelConfig, too_long: str
) -> tuple[list[list[int]], list[int], list[int], list[int]]:
    """Unique texts by their ids, which of them each judgement compares, and the judgements that can be trained on.

    Raises ValueError when texts are too long and too_long is error, or no judgement is left.
    """
    texts, text_a, text_b = _unique_texts(rows, tokenizer, model.separator)
    lengths = [max(len(texts[a]), len(texts[b])) for a, b in zip(text_a, text_b, strict=True)]
    names = [row.judgement.pair or f"{row.judgement.prompt!r:.40}" for row in rows]
    kept = within_length(lengths, names, model.max_length, too_long, "judgements")
    alike = [i for i in kept if text_a[i] == text_b[i]]
    if alike:
        log.warning("%d judgements compare a text with itself; dropped", len(alike))
    kept = [i for i in kept if text_a[i] != text_b[i]]
    if not kept:
        raise ValueError(
            f"reward_model: of {len(rows)} judgements no judgement is left to train on: their texts are longer than "
            f"model.max_length={model.max_length}, or compared with themselves"
        )
    return texts, text_a, text_b, kept


def _unique_texts(
    rows: Sequence[JudgementRow], tokenizer: PreTrainedTokenizerBase, separator: str
) -> tuple[list[list[int]], list[int], list[int]]:
    """Unique texts by their ids, and which of them each judgement compares."""
    encoded: dict[tuple[str, str, bool], tuple[int, ...]] = {}
    index: dict[tuple[int, ...], int] = {}

    def place(prompt: Text, response: str, finished: bool) -> int:
        key = (prompt_name(prompt), response, finished)
        if key not in encoded:
            before, after = encode(tokenizer, prompt, response, finished, separator)
            encoded[key] = tuple(before + after)
        return index.setdefault(encoded[key], len(index))

    ends = [
        (
            place(row.judgement.prompt, row.judgement.response_a, row.finished_a),
            place(row.judgement.prompt, row.judgement.response_b, row.finished_b),
        )
        for row in rows
    ]
    return [list(ids) for ids in index], [a for a, _ in ends], [b for _, b in ends]


def prompt_name(prompt: Text) -> str:
    """A prompt as one string."""
    return prompt if isinstance(prompt, str) else json.dumps(prompt)


def _codes(values: Sequence[str]) -> tuple[Tensor, tuple[str, ...]]:
    names = tuple(sorted(set(values)))
    code = {name: i for i, name in enumerate(names)}
    return torch.tensor([code[value] for value in values], dtype=torch.int64), names


def judgement_columns(rows: Sequence[JudgementRow], text_a: Sequence[int], text_b: Sequence[int]) -> JudgementColumns:
    judgements = [row.judgement for row in rows]
    raters, rater_names = _codes([j.rater for j in judgements])
    tiers, tier_names = _codes([j.tier for j in judgements])
    groups, group_names = _codes([j.group or "" for j in judgements])
    prompts, prompt_names = _codes([prompt_name(j.prompt) for j in judgements])
    confidence = [float("nan") if j.confidence is None else j.confidence for j in judgements]
    return JudgementColumns(
        text_a_E=torch.tensor(text_a),
        text_b_E=torch.tensor(text_b),
        target_E=torch.tensor([TARGETS[j.preference] for j in judgements]),
        confidence_E=torch.tensor(confidence),
        rater_E=raters,
        tier_E=tiers,
        group_E=groups,
        prompt_E=prompts,
        rater_names=rater_names,
        tier_names=tier_names,
        group_names=group_names,
        prompt_names=prompt_names,
    )


def _aside(prompt_names: Sequence[str], share: float, seed: int) -> Tensor:
    """Codes of the prompts kept aside: the first by sha256 of seed and prompt, the same for every member."""
    digests = [hashlib.sha256(f"{seed}/{name}".encode()).hexdigest() for name in prompt_names]
    order = sorted(range(len(digests)), key=lambda i: digests[i])
    return torch.tensor(order[: round(share * len(order))], dtype=torch.int64)
