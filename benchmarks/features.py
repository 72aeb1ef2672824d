"""Hidden states of a frozen trunk at the last token of texts, computed once and kept: what `kind: probe` reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from trl.trainer.reward_trainer import suppress_seqcls_warning

from sandwiching.policy.base_models import resolve
from sandwiching.policy.loading import load_score_model
from sandwiching.training.devices import compute_dtype, default_device, use_threads
from sandwiching.training.readout import last_token_hidden, read_texts

CHUNK = 256


def features(texts: Sequence[Sequence[int]], model: str, precision: str, pad: int, cache: Path) -> Tensor:
    """[N, D] fp32 of `texts` (token ids); a file in `cache` is named by all that decides them."""
    key = json.dumps([model, precision, [list(text) for text in texts]])
    file = cache / f"features-{hashlib.sha256(key.encode()).hexdigest()[:16]}.safetensors"
    if not file.exists():
        use_threads(torch.get_num_threads())
        with suppress_seqcls_warning():
            trunk = load_score_model(resolve(model), compute_dtype(precision), num_labels=1, pad_token_id=pad)
        trunk.to(default_device())  # pyright: ignore[reportArgumentType]
        parts = []
        for start in range(0, len(texts), CHUNK):
            parts.append(read_texts(last_token_hidden, trunk.eval(), texts[start : start + CHUNK], 8))
            print(f"features: {min(start + CHUNK, len(texts))} of {len(texts)} texts", flush=True)
        cache.mkdir(parents=True, exist_ok=True)
        save_file({"features": torch.cat(parts)}, file)
    return load_file(file)["features"]
