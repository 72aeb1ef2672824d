"""Attention over packed texts against a loop over texts; the layout for flash attention, and itself on a GPU."""

import pytest
import torch
from torch import Tensor, nn

from sandwiching.policy import attention
from sandwiching.policy.attention import FlashLayout, PackedMask, packed_attention
from sandwiching.policy.packing import Packing
from sandwiching.policy.padding import padded_right

RESTS = (3, 1, 7, 4)
HEADS, KEY_HEADS, SIZE = 4, 2, 8


class Layer(nn.Module):
    """What a model's attention module tells an attention function."""

    is_causal = True
    num_key_value_groups = HEADS // KEY_HEADS


def case(prefix: int, dtype: torch.dtype, device: str = "cpu") -> tuple[Packing, list[Tensor]]:
    """A packing of four texts, and peaked queries, keys and values [1, H, N, d]."""
    rows = [[9] * (prefix + rest) for rest in RESTS]
    packing = Packing.of(*padded_right(rows, 0), prefix)
    generator = torch.Generator().manual_seed(prefix)
    shapes = [(1, heads, len(packing.tokens_N), SIZE) for heads in (HEADS, KEY_HEADS, KEY_HEADS)]
    tensors = [torch.randn(shape, generator=generator) * 2 for shape in shapes]
    return packing.to(device), [x.to(device, dtype).requires_grad_() for x in tensors]


def by_text(packing: Packing, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """fp64 softmax text by text [1, N, H, d]."""
    keys, values = (x[0].double().repeat_interleave(HEADS // KEY_HEADS, 0) for x in (key, value))
    rows = [place_R[real_R].tolist() for place_R, real_R in zip(packing.place_BR, packing.real_BR, strict=True)]
    found: dict[int, Tensor] = {}
    for row in rows:
        text = [*range(packing.prefix), *row]
        for i, place in enumerate(text):
            seen = text[: i + 1]
            weights = (query[0, :, place, None].double() * keys[:, seen] * SIZE**-0.5).sum(-1).softmax(-1)
            found[place] = (weights[..., None] * values[:, seen]).sum(1)
    return torch.stack([found[place] for place in range(query.shape[2])])[None]


def gradients(result: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    """Of a weighted sum; those to inputs [1, H, N, d]."""
    generator = torch.Generator().manual_seed(5)
    weights = torch.randn(result.shape, generator=generator).to(result)
    return list(torch.autograd.grad((result * weights).sum(), inputs))


@pytest.mark.parametrize("prefix", [0, 1, 6])
def test_each_text_attends_to_the_prefix_and_itself(prefix: int):
    packing, inputs = case(prefix, torch.float32)
    query, key, value = inputs
    result, _ = packed_attention(Layer(), query, key, value, PackedMask.of(packing, torch.float32), scaling=SIZE**-0.5)
    expected = by_text(packing, *inputs)
    torch.testing.assert_close(result.double(), expected, atol=1e-5, rtol=1e-5)
    for one, other in zip(gradients(result, inputs), gradients(expected, inputs), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def flash_by_definition(
    query: Tensor, key: Tensor, value: Tensor, cu_q: Tensor, cu_k: Tensor, max_q: int, max_k: int, **options
) -> Tensor:
    """What torch.nn.attention.varlen documents: causal, aligned to the end of each sequence's keys."""
    assert cu_q.dtype == cu_k.dtype == torch.int32
    assert options["window_size"] == (-1, 0)
    assert options["enable_gqa"]
    assert max_q == cu_q.diff().max()
    assert max_k == cu_k.diff().max()
    groups, parts = query.shape[1] // key.shape[1], []
    for i in range(len(cu_q) - 1):
        q = query[cu_q[i] : cu_q[i + 1]]
        k, v = (x[cu_k[i] : cu_k[i + 1]].repeat_interleave(groups, 1) for x in (key, value))
        scores = torch.einsum("qhd,khd->hqk", q, k) * options["scale"]
        seen = torch.ones(len(q), len(k), dtype=torch.bool).tril(len(k) - len(q))
        parts.append(torch.einsum("hqk,khd->qhd", scores.masked_fill(~seen, -torch.inf).softmax(-1), v))
    return torch.cat(parts)


@pytest.mark.parametrize("prefix", [0, 1, 6])
def test_the_layout_for_flash_attention(prefix: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(attention, "varlen_attn", flash_by_definition)
    packing, inputs = case(prefix, torch.float32)
    query_NHd, key_NHd, value_NHd = (x[0].transpose(0, 1) for x in inputs)
    result_NHd = attention._varlen(query_NHd, key_NHd, value_NHd, FlashLayout.of(packing), SIZE**-0.5)
    expected = by_text(packing, *inputs)[0, prefix:]
    torch.testing.assert_close(result_NHd.double(), expected, atol=1e-5, rtol=1e-5)
    for one, other in zip(gradients(result_NHd, inputs), gradients(expected, inputs), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("prefix", [0, 1, 6])
def test_on_a_gpu(prefix: int, dtype: torch.dtype):
    packing, inputs = case(prefix, dtype, "cuda")
    query, key, value = inputs
    result, _ = packed_attention(Layer(), query, key, value, PackedMask.of(packing, dtype), scaling=SIZE**-0.5)
    expected = by_text(packing, *inputs)
    tolerance = 1e-4 if dtype == torch.float32 else 3e-2
    torch.testing.assert_close(result.double(), expected, atol=tolerance, rtol=tolerance)
    for one, other in zip(gradients(result, inputs), gradients(expected, inputs), strict=True):
        torch.testing.assert_close(one.double(), other.double(), atol=10 * tolerance, rtol=10 * tolerance)
