"""How many parameters a model has, from its config.json or from the table of known models. Torch-free."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from sandwiching.configs.schema import ModelConfig

GATED = ("llama", "mistral", "qwen2", "qwen3")
FAMILIES = (*GATED, "gpt_neox")
"""Values of `model_type` whose layers are counted exactly."""
_SUFFIX = re.compile(r"-(instruct|base|deduped|chat|hf)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Architecture:
    """A decoder. Names and meanings are those of Hugging Face's config.json."""

    model_type: str
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    tie_word_embeddings: bool

    @property
    def key_value_width(self) -> int:
        """Size of a token's keys (or values) in one layer."""
        return self.num_key_value_heads * self.head_dim

    def linears(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of every linear map in a layer."""
        hidden, attention, inner = self.hidden_size, self.num_attention_heads * self.head_dim, self.intermediate_size
        if self.model_type == "gpt_neox":
            return [(hidden, 3 * hidden), (hidden, hidden), (hidden, inner), (inner, hidden)]
        width = self.key_value_width
        projections = [(hidden, attention), (hidden, width), (hidden, width), (attention, hidden)]
        return [*projections, (hidden, inner), (hidden, inner), (inner, hidden)]

    def _small(self) -> int:
        """Biases and norms of one layer."""
        if self.model_type == "gpt_neox":
            return sum(outputs for _, outputs in self.linears()) + 4 * self.hidden_size
        norms = 2 * self.hidden_size
        if self.model_type == "qwen2":
            return norms + self.num_attention_heads * self.head_dim + 2 * self.key_value_width
        return norms + 2 * self.head_dim if self.model_type == "qwen3" else norms

    @property
    def trunk_parameters(self) -> int:
        """All but the language-model head: what a reward model has, its score head aside."""
        layer = sum(inputs * outputs for inputs, outputs in self.linears()) + self._small()
        final_norm = self.hidden_size * (2 if self.model_type == "gpt_neox" else 1)
        return self.num_hidden_layers * layer + final_norm + self.vocab_size * self.hidden_size

    @property
    def parameters(self) -> int:
        """All parameters; a head tied to the embedding counts once."""
        return self.trunk_parameters + (0 if self.tie_word_embeddings else self.vocab_size * self.hidden_size)

    def lora_parameters(self, rank: int) -> int:
        """Adapters of this rank on every linear map of the layers (PEFT's all-linear)."""
        return self.num_hidden_layers * sum(rank * (inputs + outputs) for inputs, outputs in self.linears())


def from_hugging_face(config: Mapping[str, Any]) -> Architecture | None:
    """From the content of a config.json; None for a family that is not counted here."""
    if config.get("model_type") not in FAMILIES:
        return None
    heads = config["num_attention_heads"]
    return Architecture(
        model_type=config["model_type"],
        hidden_size=config["hidden_size"],
        num_hidden_layers=config["num_hidden_layers"],
        num_attention_heads=heads,
        num_key_value_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or config["hidden_size"] // heads,
        intermediate_size=config["intermediate_size"],
        vocab_size=config["vocab_size"],
        tie_word_embeddings=bool(config.get("tie_word_embeddings", True)),
    )


def known_models() -> dict[str, Architecture]:
    """The table of known models, by lower-case name."""
    table = json.loads((files("sandwiching.configs") / "known_models.json").read_text())
    found = {name.lower(): from_hugging_face(config) for name, config in table.items()}
    return {name: architecture for name, architecture in found.items() if architecture is not None}


def find_architecture(model: ModelConfig) -> Architecture | None:
    """Architecture of the base model from its folder, or by name; None when neither is known here."""
    file = Path(model.path).expanduser() / "config.json"
    if file.is_file():
        return from_hugging_face(json.loads(file.read_text()))
    known = known_models()
    name = model.path.lower()
    for candidate in (name, _SUFFIX.sub("", name)):
        if candidate in known:
            return known[candidate]
    # A fine-tuned model usually bears the name of its base: org/EleutherAI_pythia-1b-deduped__sft__tldr.
    bases = [base for base in known if "/" in base and _contains_name(name, base.split("/")[1])]
    return known[max(bases, key=len)] if bases else None


def _contains_name(name: str, base: str) -> bool:
    return re.search(rf"(?<![a-z0-9.]){re.escape(base)}(?![a-z0-9.])", name) is not None
