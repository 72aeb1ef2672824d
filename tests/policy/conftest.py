"""The tiny model, built once a session; a model and prompts of uneven length on it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from sandwiching.policy.base_models import resolve
from sandwiching.policy.records import PromptBatch
from sandwiching.policy.tokenization import load_tokenizer


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the built-in tiny model."""
    return resolve("tiny", None, tmp_path_factory.mktemp("models"))


@pytest.fixture
def tokenizer(tiny: Path) -> PreTrainedTokenizerBase:
    """Its tokenizer."""
    return load_tokenizer(tiny)


@pytest.fixture
def model(tiny: Path) -> PreTrainedModel:
    """The tiny model in fp32, made more decided: random weights alone give nearly equal probabilities."""
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4)
    return model


@pytest.fixture
def prompts() -> PromptBatch:
    """16 rows: 8 prompts of 1 to 22 tokens, two samples each."""
    texts = [bytes(range(65, 65 + 1 + 3 * i)) for i in range(8)]
    rows = [(f"prompt-{i}", sample, tuple(text)) for i, text in enumerate(texts) for sample in range(2)]
    ids, samples, tokens = zip(*rows, strict=True)
    return PromptBatch(ids, samples, tokens)
