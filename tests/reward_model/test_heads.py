"""The score head: its start, and that it reads the last real token wherever padding stands."""

import math

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
)

from sandwiching.reward_model.heads import init_score_head, last_token, score_head, scores_of

PAD = 2


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        pad_token_id=PAD,
    )
    config.num_labels = 1
    model = LlamaForSequenceClassification(config).eval()
    init_score_head(model, 0)
    return model


def padded(texts, side):
    width = max(len(text) for text in texts)
    rows, real = [], []
    for text in texts:
        gap = [PAD] * (width - len(text))
        parts = [(gap, False), (text, True)] if side == "left" else [(text, True), (gap, False)]
        rows.append([token for part, _ in parts for token in part])
        real.append([flag for part, flag in parts for _ in part])
    return torch.tensor(rows), torch.tensor(real)


def read(model, tokens_BS, attention_BS):
    positions = (attention_BS.long().cumsum(-1) - 1).clamp(min=0)
    hidden = model.model(tokens_BS, attention_mask=attention_BS.long(), position_ids=positions).last_hidden_state
    return scores_of(model, last_token(hidden, attention_BS))


TEXTS = [[5, 6, 7, 8, 9, 10], [11, 12], [13, 14, 15, 16]]


@pytest.mark.parametrize("side", ["left", "right"])
@torch.no_grad()
def test_padding_never_matters(model, side):
    alone = torch.cat([read(model, torch.tensor([text]), torch.ones(1, len(text))) for text in TEXTS])
    assert torch.allclose(read(model, *padded(TEXTS, side)), alone, atol=1e-5)


@torch.no_grad()
def test_plain_transformers_reads_the_same_score(model):
    tokens, attention = padded(TEXTS, "right")
    plain = model(input_ids=tokens, attention_mask=attention.long()).logits.squeeze(-1)
    assert torch.allclose(read(model, tokens, attention), plain, atol=1e-6)


@torch.no_grad()
def test_a_real_token_with_the_id_of_padding_is_read(model):
    text = [5, 6, PAD]
    long = [5, 6, PAD, 9, 9]
    tokens, attention = padded([text, long], "right")
    alone = read(model, torch.tensor([text]), torch.ones(1, 3))
    assert torch.allclose(read(model, tokens, attention)[:1], alone, atol=1e-5)
    shorter = read(model, torch.tensor([text[:2]]), torch.ones(1, 2))
    assert not torch.allclose(alone, shorter, atol=1e-3)


@torch.no_grad()
def test_scores_are_fp32_under_half_precision_weights(model):
    half = AutoModelForSequenceClassification.from_config(model.config, dtype=torch.bfloat16).eval()
    half.load_state_dict(model.state_dict())
    scores = read(half, *padded(TEXTS, "right"))
    assert scores.dtype == torch.float32
    assert not torch.equal(scores, scores.bfloat16().float())


def test_head_starts_from_its_distribution_and_seed(model):
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
