"""The scalar head of a reward model (AutoModelForSequenceClassification, num_labels = 1) and what it reads.

Shape suffixes: B texts, S padded width, D hidden size.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import PreTrainedModel


def score_head(model: PreTrainedModel) -> nn.Linear:
    """The linear layer from hidden states to the score.

    Raises ValueError for an architecture that has none by the name that Hugging Face's decoders give it.
    """
    heads = dict(model.named_children())
    head = heads.get("score")
    if not isinstance(head, nn.Linear) or head.out_features != 1:
        raise ValueError(
            f"{type(model).__name__} has no linear head `score` with one output; a reward model needs a decoder "
            "that AutoModelForSequenceClassification loads with num_labels=1"
        )
    return head


def init_score_head(model: PreTrainedModel, seed: int) -> None:
    """Weights from N(0, 1/sqrt(D + 1)), bias 0 (Huang et al., arXiv 2403.17031, detail 11); fixed by the seed."""
    head = score_head(model)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(head.weight.shape, generator=generator) / math.sqrt(head.in_features + 1)
    with torch.no_grad():
        head.weight.copy_(drawn)
        if head.bias is not None:
            head.bias.zero_()


def last_token_hidden(model: PreTrainedModel, tokens_BS: Tensor, attention_BS: Tensor) -> Tensor:
    """Hidden state of the trunk at the last real token of each text [B, D], in the trunk's dtype.

    Padding may stand left or right and never matters: positions count real tokens only, and what is real is what
    `attention_BS` (bool) says, even where a real token has the id of padding.
    """
    attention_BS = attention_BS.long()
    position_BS = (attention_BS.cumsum(-1) - 1).clamp(min=0)
    hidden_BSD = model.base_model(
        input_ids=tokens_BS, attention_mask=attention_BS, position_ids=position_BS, use_cache=False
    ).last_hidden_state
    places_S = torch.arange(1, tokens_BS.shape[1] + 1, device=tokens_BS.device)
    last_B = (attention_BS * places_S).argmax(-1)
    return hidden_BSD[torch.arange(len(last_B), device=last_B.device), last_B]


def last_token_scores(model: PreTrainedModel, tokens_BS: Tensor, attention_BS: Tensor) -> Tensor:
    """Raw score of each text [B] fp32; the head computes in fp32 whatever the trunk's dtype."""
    head = score_head(model)
    hidden_BD = last_token_hidden(model, tokens_BS, attention_BS).float()
    bias = None if head.bias is None else head.bias.float()
    return linear(hidden_BD, head.weight.float(), bias).squeeze(-1)
