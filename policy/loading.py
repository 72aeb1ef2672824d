"""Models from folders, as every role loads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedModel


def load_causal_lm(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    """A causal LM on the CPU (under ZeRO-3 as its shards)."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation=attention_implementation())


def load_score_model(folder: Path, dtype: torch.dtype, **options: Any) -> PreTrainedModel:
    """A trunk with a score head, likewise; options of transformers' config, such as num_labels."""
    return AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=dtype, attn_implementation=attention_implementation(), **options
    )


def attention_implementation() -> str:
    """`sdpa` where there is a GPU, else `eager`.

    On CPU the backward of torch's fused attention is slow: 18-54 ms a layer against 4 ms at 16 x 72 tokens, 9 heads,
    bf16 (torch 2.13). Eager holds [B, heads, S, S] weights, which are small at the lengths that a CPU trains.
    """
    return "sdpa" if torch.cuda.is_available() else "eager"
