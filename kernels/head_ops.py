"""The ops on a vocabulary head as torch.library custom ops: schema, fake and autograd. The work is in chunked.py."""

# No `from __future__ import annotations`: torch reads the schema from the annotations.
import torch
from torch import Tensor

from sandwiching.kernels import chunked
from sandwiching.kernels.chunked import Needs, saved_dtype
from sandwiching.kernels.surrogate import clipped_surrogate


@torch.library.custom_op("sandwiching::linear_logprob", mutates_args=())
def forward_op(
    hidden_ND: Tensor, weight_VD: Tensor, target_N: Tensor, temperature: float, bias_V: Tensor | None, chunk_bytes: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-prob, entropy and log-sum-exp [N]."""
    _check_targets(target_N, weight_VD)
    return chunked.forward(hidden_ND, weight_VD, target_N, temperature, bias_V, chunk_bytes)


@forward_op.register_fake
def _(hidden_ND, weight_VD, target_N, temperature, bias_V, chunk_bytes):
    return _vectors(target_N, weight_VD, 3)


@torch.library.custom_op("sandwiching::linear_logprob_backward", mutates_args=())
def backward_op(
    dlogprob_N: Tensor | None,
    dentropy_N: Tensor | None,
    hidden_ND: Tensor,
    weight_VD: Tensor,
    target_N: Tensor,
    entropy_N: Tensor,
    lse_N: Tensor,
    temperature: float,
    bias_V: Tensor | None,
    chunk_bytes: int,
    needs_hidden: bool,
    needs_weight: bool,
    needs_bias: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of hidden, weight and bias; empty where not needed."""
    dhidden_ND, dweight_VD, dbias_V = chunked.backward(
        dlogprob_N,
        dentropy_N,
        hidden_ND,
        weight_VD,
        target_N,
        entropy_N,
        lse_N,
        temperature,
        bias_V,
        chunk_bytes,
        Needs(needs_hidden, needs_weight, needs_bias),
    )
    return dhidden_ND, dweight_VD.to(weight_VD.dtype), dbias_V.to(_dtype(bias_V, weight_VD))


@backward_op.register_fake
def _(
    dlogprob_N,
    dentropy_N,
    hidden_ND,
    weight_VD,
    target_N,
    entropy_N,
    lse_N,
    temperature,
    bias_V,
    chunk_bytes,
    needs_hidden,
    needs_weight,
    needs_bias,
):
    return (
        hidden_ND.new_empty(hidden_ND.shape if needs_hidden else 0),
        weight_VD.new_empty(weight_VD.shape if needs_weight else 0),
        weight_VD.new_empty(len(weight_VD) if needs_bias else 0, dtype=_dtype(bias_V, weight_VD)),
    )


def _save_forward(ctx, inputs, output) -> None:
    hidden_ND, weight_VD, target_N, ctx.temperature, bias_V, ctx.chunk_bytes = inputs
    _, entropy_N, lse_N = output
    ctx.mark_non_differentiable(lse_N)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(hidden_ND, weight_VD, target_N, entropy_N, lse_N, bias_V)


def _forward_gradients(ctx, dlogprob_N, dentropy_N, _) -> tuple[Tensor | None, ...]:
    if dlogprob_N is None and dentropy_N is None:
        return (None,) * 6
    hidden_ND, weight_VD, target_N, entropy_N, lse_N, bias_V = ctx.saved_tensors
    needs_hidden, needs_weight, _, _, needs_bias, _ = ctx.needs_input_grad
    dhidden_ND, dweight_VD, dbias_V = backward_op(
        dlogprob_N,
        dentropy_N,
        hidden_ND,
        weight_VD,
        target_N,
        entropy_N,
        lse_N,
        ctx.temperature,
        bias_V,
        ctx.chunk_bytes,
        needs_hidden,
        needs_weight,
        needs_bias,
    )
    return (
        dhidden_ND if needs_hidden else None,
        dweight_VD if needs_weight else None,
        None,
        None,
        dbias_V if needs_bias else None,
        None,
    )


forward_op.register_autograd(_forward_gradients, setup_context=_save_forward)


@torch.library.custom_op("sandwiching::linear_logprob_kl", mutates_args=())
def forward_kl_op(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    reference_hidden_ND: Tensor,
    reference_weight_VD: Tensor,
    target_N: Tensor,
    temperature: float,
    bias_V: Tensor | None,
    reference_bias_V: Tensor | None,
    chunk_bytes: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Log-prob, reference log-prob, entropy and KL [N]."""
    _check_targets(target_N, weight_VD)
    return chunked.forward_kl(
        hidden_ND,
        weight_VD,
        reference_hidden_ND,
        reference_weight_VD,
        target_N,
        temperature,
        bias_V,
        reference_bias_V,
        chunk_bytes,
    )


@forward_kl_op.register_fake
def _(
    hidden_ND,
    weight_VD,
    reference_hidden_ND,
    reference_weight_VD,
    target_N,
    temperature,
    bias_V,
    reference_bias_V,
    chunk_bytes,
):
    return _vectors(target_N, weight_VD, 4)


@torch.library.custom_op("sandwiching::ppo_linear_loss", mutates_args=())
def ppo_op(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    target_N: Tensor,
    old_logprob_N: Tensor,
    advantage_N: Tensor,
    temperature: float,
    clip_range: float,
    entropy_coefficient: float,
    bias_V: Tensor | None,
    chunk_bytes: int,
    needs_hidden: bool,
    needs_weight: bool,
    needs_bias: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Loss summed over the rows that are not ignored, log-prob and entropy [N], and the loss's gradients."""
    _check_targets(target_N, weight_VD)
    logprob_N, entropy_N, dhidden_ND, dweight_VD, dbias_V = chunked.forward_ppo(
        hidden_ND,
        weight_VD,
        target_N,
        old_logprob_N,
        advantage_N,
        temperature,
        clip_range,
        entropy_coefficient,
        bias_V,
        chunk_bytes,
        Needs(needs_hidden, needs_weight, needs_bias),
    )
    loss_N = clipped_surrogate(logprob_N, old_logprob_N, advantage_N, clip_range).loss - entropy_coefficient * entropy_N
    loss = loss_N.where(target_N >= 0, 0.0).sum().to(logprob_N.dtype)
    return loss, logprob_N, entropy_N, dhidden_ND, dweight_VD.to(saved_dtype(weight_VD.dtype)), dbias_V


@ppo_op.register_fake
def _(
    hidden_ND,
    weight_VD,
    target_N,
    old_logprob_N,
    advantage_N,
    temperature,
    clip_range,
    entropy_coefficient,
    bias_V,
    chunk_bytes,
    needs_hidden,
    needs_weight,
    needs_bias,
):
    logprob_N, entropy_N = _vectors(target_N, weight_VD, 2)
    return (
        logprob_N.new_empty(()),
        logprob_N,
        entropy_N,
        hidden_ND.new_empty(hidden_ND.shape if needs_hidden else 0, dtype=saved_dtype(hidden_ND.dtype)),
        weight_VD.new_empty(weight_VD.shape if needs_weight else 0, dtype=saved_dtype(weight_VD.dtype)),
        logprob_N.new_empty(len(weight_VD) if needs_bias else 0),
    )


def _save_ppo(ctx, inputs, output) -> None:
    hidden_ND, weight_VD, bias_V = inputs[0], inputs[1], inputs[8]
    ctx.dtypes = hidden_ND.dtype, weight_VD.dtype, _dtype(bias_V, weight_VD)
    ctx.needs = inputs[-3:]
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*output[3:])


def _ppo_gradients(ctx, dloss, *_) -> tuple[Tensor | None, ...]:
    saved = zip(ctx.saved_tensors, ctx.dtypes, ctx.needs, strict=True)
    if dloss is None:
        return (None,) * 13
    dhidden_ND, dweight_VD, dbias_V = ((x * dloss).to(dtype) if needed else None for x, dtype, needed in saved)
    return dhidden_ND, dweight_VD, *[None] * 6, dbias_V, *[None] * 4


ppo_op.register_autograd(_ppo_gradients, setup_context=_save_ppo)


def _check_targets(target_N: Tensor, weight_VD: Tensor) -> None:
    if not target_N.is_cuda and len(target_N) and int(target_N.max()) >= len(weight_VD):
        raise ValueError(f"target {int(target_N.max())} is outside the vocabulary of {len(weight_VD)}")


def _vectors(target_N: Tensor, weight_VD: Tensor, count: int) -> tuple[Tensor, ...]:
    dtype = torch.promote_types(weight_VD.dtype, torch.float32)
    return tuple(weight_VD.new_empty(target_N.shape, dtype=dtype) for _ in range(count))


def _dtype(bias_V: Tensor | None, weight_VD: Tensor) -> torch.dtype:
    return weight_VD.dtype if bias_V is None else bias_V.dtype
