"""Models from folders, as every role loads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedModel

from sandwiching.policy.heads import Float32Head
from sandwiching.policy.trunk import pack_attention

# On CPU eager attention is the faster one: see attention.rows_attention.
_ATTENTION = "sdpa" if torch.cuda.is_available() else "eager"


def load_causal_lm(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    """A causal LM on the CPU (under ZeRO-3 as its shards), which packs texts if it can."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation=_ATTENTION)
    pack_attention(model)
    return model


def load_score_model(folder: Path, dtype: torch.dtype, **options: Any) -> PreTrainedModel:
    """A trunk whose score head computes in fp32, likewise; options of transformers' config, such as num_labels."""
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=dtype, attn_implementation=_ATTENTION, **options
    )
    if isinstance(getattr(model, "score", None), nn.Linear):
        model.score = Float32Head.of(model.score)
    pack_attention(model)
    return model
