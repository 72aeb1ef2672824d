"""The score head: its start."""

import math

import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
)

from sandwiching.reward_model.heads import init_score_head, score_head


def test_head_starts_from_its_distribution_and_seed():
    config = LlamaConfig(
        vocab_size=8, hidden_size=4096, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
    )
    config.num_labels = 1
    wide = LlamaForSequenceClassification(config)
    init_score_head(wide, 3)
    first = score_head(wide).weight.clone()
    assert first.std().item() == pytest.approx(1 / math.sqrt(4097), rel=0.05)
    init_score_head(wide, 4)
    assert not torch.equal(score_head(wide).weight, first)
    init_score_head(wide, 3)
    assert torch.equal(score_head(wide).weight, first)


def test_a_model_without_a_head_is_refused():
    config = LlamaConfig(vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    with pytest.raises(ValueError, match="no linear head `score`"):
        score_head(LlamaForCausalLM(config))
