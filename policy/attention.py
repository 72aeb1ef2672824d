"""Attention over packed texts, as an implementation that Hugging Face's models take by name.

Everything else in a model works on tokens one by one, so only attention has to know which text a token is of. Queries,
keys and values of a pass are laid out as one row a text, the shared prefix in front of each, and what comes back is
packed again: cost and memory are those of rows, whatever the number of texts in a pass.

Shape suffixes as in packing.py; W = L + R keys of a text, H heads, d head size.
"""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import pad
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import eager_mask, sdpa_mask

from sandwiching.policy.packing import Packing

PACKED = "packed"
"""The name of the implementation; where it is given rows, not a packing, it works as `eager` or `sdpa` would."""


@dataclass(frozen=True, slots=True)
class FlashLayout:
    """A packing as torch's flash attention takes it: rests of texts as queries, prefixes and rests as keys.

    order: which of the keys, their prefix repeated B times, stand where. Made once a pass: to count what is real makes
    the host wait for a GPU, which all layers would.
    """

    prefix: int
    texts: int
    longest: int
    order: Tensor
    query_starts: Tensor
    key_starts: Tensor

    @classmethod
    def of(cls, packing: Packing) -> FlashLayout:
        """For every layer of a pass."""
        L, (B, R) = packing.prefix, packing.place_BR.shape
        # Each place is taken once, so that the gradient is a copy: sums over places have no fixed order on a GPU.
        shared_BL = torch.arange(B * L, device=packing.rest_B.device).view(B, L)
        own_BR = packing.place_BR + (B - 1) * L
        sees_BW = torch.cat([shared_BL >= 0, packing.real_BR], dim=1)
        starts = (pad(lengths_B.cumsum(0), (1, 0)).int() for lengths_B in (packing.rest_B, packing.rest_B + L))
        return cls(L, B, R, torch.cat([shared_BL, own_BR], dim=1)[sees_BW], *starts)

    def keys(self, x_NHd: Tensor) -> Tensor:
        """Of all texts, one behind another."""
        repeated = x_NHd[: self.prefix].expand(self.texts, -1, -1, -1).flatten(0, 1)
        return torch.cat([repeated, x_NHd[self.prefix :]]).index_select(0, self.order)


class PackedMask(Tensor):
    """The mask [B, 1, R, W] of a packing's texts, in a form that models hand on untouched.

    Additive in the model's dtype on CPU, bool on a GPU. A model that cuts or computes with it loses `packing`, and
    attention then fails.
    """

    packing: Packing
    prefix_mask_LL: Tensor
    kept: Tensor
    """Which of B x R are no padding."""
    flash: FlashLayout | None

    __torch_function__ = torch._C._disabled_torch_function_impl  # pyright: ignore

    @classmethod
    def of(cls, packing: Packing, dtype: torch.dtype) -> PackedMask:
        """For a model that computes in `dtype`."""
        L, device = packing.prefix, packing.tokens_N.device
        column_R = torch.arange(packing.place_BR.shape[1], device=device)
        own_BRR = (column_R[:, None] >= column_R) & packing.real_BR[:, None, :]
        sees_BRW = torch.cat([own_BRR.new_ones(*own_BRR.shape[:2], L), own_BRR], dim=2)
        # A query that is padding has to see something.
        mask = torch.Tensor._make_subclass(cls, _mask(sees_BRW | ~packing.real_BR[:, :, None], dtype)[:, None])
        mask.packing = packing
        mask.prefix_mask_LL = _mask(torch.ones(L, L, dtype=torch.bool, device=device).tril(), dtype)
        mask.kept = packing.real_BR.flatten().nonzero().flatten()
        mask.flash = FlashLayout.of(packing) if device.type == "cuda" else None
        return mask


def _mask(sees: Tensor, dtype: torch.dtype) -> Tensor:
    if sees.is_cuda:
        return sees
    return torch.zeros(sees.shape, dtype=dtype).masked_fill(~sees, torch.finfo(dtype).min)


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Hugging Face's attention function: query [1, H, N, d], key and value likewise -> [1, N, H, d].

    Without a PackedMask, of rows [B, H, S, d]. Options as for eager attention (scaling, dropout). Raises ValueError for
    attention that is more than a masked softmax.
    """
    if any(options.get(name) is not None for name in ("softcap", "s_aux", "position_bias")):
        raise ValueError(f"{type(module).__name__}: soft caps, sinks and biases cannot be packed")
    if not isinstance(attention_mask, PackedMask):
        return rows_attention(module, query, key, value, attention_mask, **options)
    L = attention_mask.packing.prefix
    query_NHd, key_NHd, value_NHd = (x[0].transpose(0, 1) for x in (query, key, value))
    rest_NHd = _rest(module, query_NHd, key_NHd, value_NHd, attention_mask, **options)
    if L == 0:
        return rest_NHd[None], None
    shared_mask_LL = attention_mask.prefix_mask_LL[None, None]
    shared = query[:, :, :L], key[:, :, :L], value[:, :, :L]
    shared_1LHd, _ = rows_attention(module, *shared, shared_mask_LL, **options)
    return torch.cat([shared_1LHd, rest_NHd[None]], dim=1), None


def _rest(
    module: nn.Module, query_NHd: Tensor, key_NHd: Tensor, value_NHd: Tensor, mask: PackedMask, **options: Any
) -> Tensor:
    """Attention [N - L, H, d] of the rests to the prefix and to themselves."""
    packing = mask.packing
    if mask.flash is not None and _flash_can(query_NHd, value_NHd) and not options.get("dropout"):
        return _varlen(query_NHd, key_NHd, value_NHd, mask.flash, options.get("scaling"))
    (B, R), L = packing.place_BR.shape, packing.prefix

    def rest_BHRd(x_NHd: Tensor) -> Tensor:
        return x_NHd.index_select(0, packing.place_BR.flatten()).view(B, R, *x_NHd.shape[1:]).transpose(1, 2)

    def seen_BHWd(x_NHd: Tensor) -> Tensor:
        return torch.cat([x_NHd[:L].transpose(0, 1).expand(B, -1, -1, -1), rest_BHRd(x_NHd)], dim=2)

    keys = seen_BHWd(key_NHd), seen_BHWd(value_NHd)
    result_BRHd, _ = rows_attention(module, rest_BHRd(query_NHd), *keys, mask.as_subclass(Tensor), **options)
    return result_BRHd.flatten(0, 1).index_select(0, mask.kept)


def _flash_can(query_NHd: Tensor, value_NHd: Tensor) -> bool:
    """Whether torch's flash attention takes these."""
    size = query_NHd.shape[-1]
    return (
        query_NHd.is_cuda
        and query_NHd.dtype in (torch.bfloat16, torch.float16)
        and torch.cuda.get_device_capability(query_NHd.device) >= (8, 0)
        and size == value_NHd.shape[-1]
        and size <= 256
        and size % 8 == 0
    )


def _varlen(
    query_NHd: Tensor, key_NHd: Tensor, value_NHd: Tensor, layout: FlashLayout, scaling: float | None
) -> Tensor:
    """`_rest` without padding in attention either, by torch's flash attention; a GPU and half precision only."""
    result = varlen_attn(
        query_NHd[layout.prefix :].contiguous(),
        layout.keys(key_NHd),
        layout.keys(value_NHd),
        layout.query_starts,
        layout.key_starts,
        layout.longest,
        layout.prefix + layout.longest,
        scale=scaling,
        window_size=(-1, 0),
        **_GROUPED,
    )
    assert isinstance(result, Tensor)
    return result


def rows_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention of rows, [B, H, S, d] -> [B, S, H, d]: torch's fused one on a GPU, by plain products on CPU.

    On CPU the backward of the fused one is slow: 18-54 ms a layer against 4 ms at 16 x 72 tokens, 9 heads, bf16 (torch
    2.13). The products hold [B, H, S, S] weights, which are small at the lengths that a CPU trains.
    """
    if query.is_cuda:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **options)
    groups = query.shape[1] // key.shape[1]
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if attention_mask is None and query.shape[2] > 1:
        # As `sdpa` has it, whose masks a process with a GPU gets.
        attention_mask = torch.ones(scores.shape[2:], dtype=torch.bool).tril(scores.shape[3] - scores.shape[2])
    if attention_mask is not None and attention_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
    elif attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, dropout, module.training)
    return (weights @ value).transpose(1, 2).contiguous(), None


# torch 2.11 takes fewer key heads than query heads unasked, later ones ask for this.
_GROUPED: dict[str, Any] = {"enable_gqa": True} if "enable_gqa" in signature(varlen_attn).parameters else {}

AttentionInterface.register(PACKED, packed_attention)
AttentionMaskInterface.register(PACKED, sdpa_mask if torch.cuda.is_available() else eager_mask)
