"""Scores of given texts by a reward ensemble, through the same scorer that PPO asks. Shapes: K members, B texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sandwiching.policy.padding import padded_left, padded_right
from sandwiching.policy.records import Rollouts
from sandwiching.policy.tokenization import encode, pad_token_id
from sandwiching.tasks.records import Text
from sandwiching.training.roles import Scorer

CHUNK = 64


@dataclass(frozen=True, slots=True)
class Scored:
    """A text that a reward model scores: a response to a prompt, and whether it was ended by end-of-text."""

    prompt: Text
    response: str
    finished: bool


Score = Callable[[Sequence[Scored]], Tensor]


def ensemble_score(
    scorer: Scorer,
    tokenizer: PreTrainedTokenizerBase,
    separator: str,
    combine: Callable[[Tensor], Tensor],
) -> Score:
    """A function from texts to combined scores [B] fp32; combine: [K, B] -> [B]."""
    return lambda texts: combine(member_scores(scorer, tokenizer, separator, texts)).float()


def member_scores(
    scorer: Scorer, tokenizer: PreTrainedTokenizerBase, separator: str, texts: Sequence[Scored]
) -> Tensor:
    """Normalised scores of each member [K, B]; texts of like length are scored together."""
    tokens = [encode(tokenizer, text.prompt, text.response, text.finished, separator) for text in texts]
    order = sorted(range(len(texts)), key=lambda place: sum(map(len, tokens[place])))
    scored = []
    for first in range(0, len(order), CHUNK):
        places = order[first : first + CHUNK]
        ended = [texts[place].finished for place in places]
        rollouts = as_rollouts([tokens[place] for place in places], ended, pad_token_id(tokenizer))
        scored.append(scorer.score(rollouts).rewards_KB)
    return torch.cat(scored, dim=1)[:, torch.tensor(order).argsort()]


def as_rollouts(tokens: Sequence[tuple[list[int], list[int]]], finished: Sequence[bool], pad: int) -> Rollouts:
    """Given (prompt, response) ids in the form of sampled ones; they have no log-probs."""
    prompts_BP, prompt_mask_BP = padded_left([prompt for prompt, _ in tokens], pad)
    responses_BT, mask_BT = padded_right([response for _, response in tokens], pad)
    return Rollouts(
        prompt_ids=tuple(str(place) for place in range(len(tokens))),
        sample_index=(0,) * len(tokens),
        tokens_BS=torch.cat([prompts_BP, responses_BT], dim=1),
        attention_BS=torch.cat([prompt_mask_BP, mask_BT], dim=1),
        response_mask_BT=mask_BT,
        finished_B=torch.tensor(list(finished)),
        behaviour_logprobs_BT=torch.zeros(mask_BT.shape),
    )
