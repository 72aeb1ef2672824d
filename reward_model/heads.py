"""The scalar head of a reward model (AutoModelForSequenceClassification, num_labels = 1). D hidden size."""

from __future__ import annotations

import math

import torch
from torch import nn
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
