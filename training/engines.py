"""Rollout engines from plain specs: the place to add another kind of engine."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoConfig

from sandwiching.configs.schema import ResourcesConfig
from sandwiching.policy.engine import RolloutEngine, TransformersEngine
from sandwiching.policy.generation import go_on
from sandwiching.policy.tokenization import eos_token_id, load_tokenizer, pad_token_id
from sandwiching.policy.vllm_engine import VLLMEngine
from sandwiching.policy.vllm_process import ServerSettings
from sandwiching.training.devices import compute_dtype, default_device
from sandwiching.training.roles import EngineSpec
from sandwiching.training.weights import lora_spec

Poll = Callable[[], None]

CACHE_BLOCK = 128
"""Tokens that vLLM keeps together on CPU; a sequence's last block is not full."""

VLLM_PYTHON = Path(sys.prefix).parent / ".venv-vllm" / "bin" / "python"
"""Where `make setup-vllm` puts it: beside our own environment."""


def build_engine(spec: EngineSpec, resources: ResourcesConfig, poll: Poll = go_on) -> RolloutEngine:
    """The engine of spec.kind on this process's device. poll: called in its long calls, which end where it raises.

    What is sampled ahead cannot be sampled again once there are new weights: there nothing is polled.
    """
    return ENGINES[spec.kind](spec, resources, go_on if spec.ahead else poll)


def transformers_engine(spec: EngineSpec, resources: ResourcesConfig, poll: Poll) -> TransformersEngine:
    """Hugging Face generate."""
    tokenizer = load_tokenizer(spec.folder, spec.model.pad_token)
    return TransformersEngine(
        spec.folder,
        pad_token_id=pad_token_id(tokenizer),
        eos_token_id=eos_token_id(tokenizer),
        device=default_device(),
        dtype=compute_dtype(spec.model.precision),
        lora=lora_spec(spec.model.lora) if spec.adapters else None,
        max_batch=resources.rollout_batch,
        poll=poll,
    )


def vllm_engine(spec: EngineSpec, resources: ResourcesConfig, poll: Poll) -> VLLMEngine:
    """vLLM in a process of its own environment."""
    tokenizer = load_tokenizer(spec.folder, spec.model.pad_token)
    gpu = torch.cuda.is_available()
    settings = ServerSettings(
        python=vllm_python(resources.vllm.python),
        model=spec.folder,
        dtype=str(compute_dtype(spec.model.precision)).removeprefix("torch."),
        max_model_len=spec.model.max_length,
        max_batch=resources.rollout_batch,
        threads=resources.vllm.threads or torch.get_num_threads(),
        spins=not spec.ahead,
        tensor_parallel=resources.vllm.tensor_parallel,
        memory_share=resources.vllm.memory_share,
        cache_bytes=None if gpu else cache_bytes(spec, resources.rollout_batch),
        enforce_eager=not gpu,
        sleep=gpu and resources.colocate,
        start_timeout=resources.vllm.start_timeout,
        timeout=resources.vllm.timeout,
    )
    return VLLMEngine(
        settings,
        pad_token_id=pad_token_id(tokenizer),
        eos_token_id=eos_token_id(tokenizer),
        lora=lora_spec(spec.model.lora) if spec.adapters else None,
        poll=poll,
    )


def require_vllm(python: Path) -> None:
    """Raise ValueError when that interpreter has no vLLM."""
    look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('vllm') is None)"
    if subprocess.run([str(python), "-c", look], check=False).returncode:
        raise ValueError(f"{python} has no vllm: run `make setup-vllm`, or name another in resources.vllm.python")


def cache_bytes(spec: EngineSpec, rows: int) -> int:
    """Keys and values of `rows` sequences of model.max_length tokens."""
    config = AutoConfig.from_pretrained(spec.folder).get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    token = 2 * config.num_hidden_layers * heads * size * compute_dtype(spec.model.precision).itemsize
    return rows * (spec.model.max_length + CACHE_BLOCK) * token


def vllm_python(configured: str | None) -> Path:
    """The interpreter of vLLM's environment: the configured one, that of `make setup-vllm`, or this one if it has vLLM.

    Raises ValueError when there is none.
    """
    if configured is not None:
        if not Path(configured).exists():
            raise ValueError(f"resources.vllm.python={configured} does not exist")
        return Path(configured).absolute()
    if VLLM_PYTHON.exists():
        return VLLM_PYTHON
    if importlib.util.find_spec("vllm") is not None:
        return Path(sys.executable)
    raise ValueError("ppo.engine=vllm needs vLLM: run `make setup-vllm`, or name its Python in resources.vllm.python")


ENGINES: dict[str, Callable[[EngineSpec, ResourcesConfig, Poll], RolloutEngine]] = {
    "transformers": transformers_engine,
    "vllm": vllm_engine,
}
