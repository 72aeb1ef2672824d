"""A frozen model read over many texts: rewards of a finished reward model, features for a probe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from sandwiching.policy.packing import Packing
from sandwiching.policy.padding import padded_right, shared_prefix
from sandwiching.policy.trunk import packs, trunk_hidden
from sandwiching.policy.values import raw_scores
from sandwiching.training import distributed
from sandwiching.training.artifacts import StageFolder
from sandwiching.training.devices import default_device
from sandwiching.training.passes import all_rows, plan_passes

CHUNK = 256
"""Texts a chunk: what one rank computes at once, and what a resume does not repeat."""

Reader = Callable[[PreTrainedModel, Packing], Tensor]
"""(model, texts) -> one row a text [B, ...]."""


def last_token_hidden(model: nn.Module, texts: Packing) -> Tensor:
    """Hidden state of the trunk at the last token of each text [B, D], in the trunk's dtype."""
    return trunk_hidden(model, texts)[texts.last_B]


def last_token_scores(model: nn.Module, texts: Packing) -> Tensor:
    """Raw score of each text [B] fp32."""
    return raw_scores(model, last_token_hidden(model, texts))


@torch.no_grad()
def read_texts(reader: Reader, model: PreTrainedModel, texts: Sequence[Sequence[int]], micro_batch: int) -> Tensor:
    """`reader` on every text [N, ...], fp32 on CPU; as many at once as fit in the tokens of `micro_batch` long ones."""
    device = default_device()
    tokens_NS, attention_NS = padded_right(texts, pad=0)
    prefix = shared_prefix(tokens_NS, attention_NS) if packs(model) else 0
    tokens_N = attention_NS.sum(1) - prefix
    passes = [rows for (rows,) in plan_passes(tokens_N, all_rows(tokens_N), micro_batch, prefix)]
    packings = (Packing.of(tokens_NS[rows], attention_NS[rows], prefix).to(device) for rows in passes)
    values = torch.cat([reader(model, packing).float().cpu() for packing in packings])
    return values[torch.cat(passes).argsort()]


def read_in_chunks(
    reader: Reader,
    model: PreTrainedModel,
    texts: Sequence[Sequence[int]],
    micro_batch: int,
    cache: Path,
    folder: StageFolder,
) -> Tensor:
    """As `read_texts`, the chunks shared out over the ranks and kept in `cache`, a folder that all ranks see."""
    cache.mkdir(parents=True, exist_ok=True)
    files = [cache / f"chunk_{start}.safetensors" for start in range(0, len(texts), CHUNK)]
    for i, file in enumerate(files):
        if i % distributed.world_size() == distributed.rank() and not file.exists():
            values = read_texts(reader, model, texts[i * CHUNK : (i + 1) * CHUNK], micro_batch)
            temporary = file.with_suffix(".writing")
            save_file({"values": values.contiguous()}, temporary)
            folder.check_attempt()
            temporary.replace(file)
        if distributed.rank() == 0:
            folder.report(min((i + 1) * CHUNK, len(texts)), len(texts))
            folder.stop_if_asked()
    distributed.barrier()
    return torch.cat([load_file(file)["values"] for file in files])
