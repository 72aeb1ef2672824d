"""A frozen model read over many texts: rewards of a finished reward model, features for a probe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from sandwiching.policy.padding import padded_right, shared_prefix
from sandwiching.policy.trunk import shares_prefix, trunk_hidden
from sandwiching.reward_model.heads import last_token, scores_of
from sandwiching.training import distributed
from sandwiching.training.artifacts import StageFolder
from sandwiching.training.devices import default_device

CHUNK = 256
"""Texts a chunk: what one rank computes at once, and what a resume does not repeat."""

Reader = Callable[[PreTrainedModel, Tensor, Tensor], Tensor]
"""(model, tokens [B, S], attention [B, S]) -> one row a text [B, ...]."""


def last_token_hidden(model: PreTrainedModel, tokens_BS: Tensor, attention_BS: Tensor) -> Tensor:
    """Hidden state of the trunk at the last real token of each text [B, D], in the trunk's dtype."""
    prefix = shared_prefix(tokens_BS, attention_BS) if shares_prefix(model) else 0
    return last_token(trunk_hidden(model, tokens_BS, attention_BS, prefix), attention_BS[:, prefix:])


def last_token_scores(model: PreTrainedModel, tokens_BS: Tensor, attention_BS: Tensor) -> Tensor:
    """Raw score of each text [B] fp32."""
    return scores_of(model, last_token_hidden(model, tokens_BS, attention_BS))


@torch.no_grad()
def read_texts(
    reader: Reader, model: PreTrainedModel, texts: Sequence[Sequence[int]], pad: int, micro_batch: int
) -> Tensor:
    """`reader` on every text [N, ...], fp32 on CPU; texts of similar length are batched together."""
    device = default_device()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    rows: dict[int, Tensor] = {}
    for start in range(0, len(order), micro_batch):
        part = order[start : start + micro_batch]
        tokens_BS, attention_BS = padded_right([texts[i] for i in part], pad)
        values = reader(model, tokens_BS.to(device), attention_BS.to(device)).float().cpu()
        rows.update(zip(part, values, strict=True))
    return torch.stack([rows[i] for i in range(len(texts))])


def read_in_chunks(
    reader: Reader,
    model: PreTrainedModel,
    texts: Sequence[Sequence[int]],
    pad: int,
    micro_batch: int,
    cache: Path,
    folder: StageFolder,
) -> Tensor:
    """As `read_texts`, the chunks shared out over the ranks and kept in `cache`, a folder that all ranks see."""
    cache.mkdir(parents=True, exist_ok=True)
    files = [cache / f"chunk_{start}.safetensors" for start in range(0, len(texts), CHUNK)]
    for i, file in enumerate(files):
        if i % distributed.world_size() == distributed.rank() and not file.exists():
            values = read_texts(reader, model, texts[i * CHUNK : (i + 1) * CHUNK], pad, micro_batch)
            temporary = file.with_suffix(".writing")
            save_file({"values": values.contiguous()}, temporary)
            folder.check_attempt()
            temporary.replace(file)
        if distributed.rank() == 0:
            folder.report(min((i + 1) * CHUNK, len(texts)), len(texts))
    distributed.barrier()
    return torch.cat([load_file(file)["values"] for file in files])
