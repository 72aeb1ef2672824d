"""Rollout engines from plain specs: the place to add another kind of engine."""

from __future__ import annotations

from sandwiching.configs.schema import ResourcesConfig
from sandwiching.policy.engine import TransformersEngine
from sandwiching.policy.tokenization import eos_token_id, load_tokenizer, pad_token_id
from sandwiching.training.devices import compute_dtype, default_device
from sandwiching.training.roles import EngineSpec
from sandwiching.training.weights import lora_spec


def build_engine(spec: EngineSpec, resources: ResourcesConfig) -> TransformersEngine:
    """Hugging Face generate on this process's device."""
    tokenizer = load_tokenizer(spec.folder, spec.model.pad_token)
    return TransformersEngine(
        spec.folder,
        pad_token_id=pad_token_id(tokenizer),
        eos_token_id=eos_token_id(tokenizer),
        device=default_device(),
        dtype=compute_dtype(spec.model.precision),
        lora=lora_spec(spec.model.lora) if spec.adapters else None,
        max_batch=resources.rollout_batch,
    )
