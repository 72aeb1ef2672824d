"""Blocks about models, optimisers and sampling. Importing this module never imports torch."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING


@dataclass(kw_only=True)
class LoraConfig:
    """A low-rank adapter on every stage's trunk (Hu et al., arXiv 2106.09685)."""

    rank: int = 16
    """Rank of each adapter."""
    alpha: int = 32
    """Scale: the adapter's output is multiplied by alpha / rank."""
    target_modules: str = "all-linear"
    """Layers that get an adapter, as PEFT names them."""


@dataclass(kw_only=True)
class ModelConfig:
    """The base model, and how text becomes tokens for every stage."""

    path: str = MISSING
    """A folder, a Hugging Face hub id, or a name from policy/base_models.py."""
    revision: str | None = None
    """Hub commit; required for exact keys with a hub id."""
    lora: LoraConfig | None = None
    """Train adapters instead of all weights. null: full fine-tuning."""
    precision: str = "fp32"
    """fp32, or bf16: bf16 working copies with fp32 master weights."""
    pad_token: str | None = None
    """null: the tokenizer's pad token if it is not its eos, else a reserved token of the vocabulary."""
    separator: str = " "
    """Between a string prompt and its response; chat messages use the chat template instead."""
    max_length: int = 256
    """Longest prompt + response, in tokens."""


@dataclass(kw_only=True)
class OptimizerConfig:
    """AdamW and its schedule, the same for all stages."""

    learning_rate: float = 1e-4
    """Peak learning rate."""
    scheduler: str = "cosine"
    """linear, cosine or constant; linear and cosine fall to 0 at the last step."""
    warmup_ratio: float = 0.0
    """Share of the steps with a rising learning rate."""
    weight_decay: float = 0.0
    """Decoupled weight decay."""
    adam_epsilon: float = 1e-5
    """Epsilon of AdamW (1e-5: Huang et al., arXiv 2403.17031, detail 9)."""
    max_grad_norm: float = 1.0
    """Gradient clipping by global norm."""


@dataclass(kw_only=True)
class SamplingConfig:
    """How responses are sampled; the same in every stage that samples."""

    temperature: float = 1.0
    """Divides the logits, in sampling and in every log-prob."""
    max_new_tokens: int = 16
    """Longest response, in tokens."""
