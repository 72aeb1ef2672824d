"""The ops of the scoring loop. Each runs in plain torch, in Triton or (token_returns) in CUDA C++: see backends.py.

All are torch.library custom ops with fake and autograd implementations, so they can be called within torch.compile.
Shape suffixes: N rows (response tokens), D hidden size, V vocabulary, B sequences, T tokens of a sequence.

Under ZeRO-3 call an op inside the forward of the module that owns the weight, as for any linear layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sandwiching.kernels import reference
from sandwiching.kernels.backends import is_reference
from sandwiching.kernels.head_ops import forward_kl_op, forward_op, ppo_op
from sandwiching.kernels.returns import masked_statistics
from sandwiching.kernels.returns_ops import token_returns_op, whiten_op
from sandwiching.kernels.surrogate import clipped_surrogate

__all__ = ["linear_logprob", "linear_logprob_kl", "masked_statistics", "ppo_linear_loss", "token_returns", "whiten"]

Denominator = float | Tensor


@dataclass(frozen=True, slots=True)
class PPOStatistics:
    """Scalars, sums over masked tokens / denominator, without gradient.

    policy_loss: clipped surrogate; entropy: nats; approx_kl: log_ratio^2 / 2; clip_fraction: tokens whose ratio is
    outside the clip; ratio and ratio_squared.
    """

    policy_loss: Tensor
    entropy: Tensor
    approx_kl: Tensor
    clip_fraction: Tensor
    ratio: Tensor
    ratio_squared: Tensor


def linear_logprob(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    target_N: Tensor,
    temperature: float = 1.0,
    bias_V: Tensor | None = None,
    chunk_bytes: int = 0,
) -> tuple[Tensor, Tensor]:
    """Log-prob of the target under softmax((hidden @ weight.T + bias) / temperature), and its entropy (nats): [N] fp32.

    hidden [N, D] is rounded to weight's dtype (fp32, bf16, fp16; fp64 gives fp64), logits are fp32. target [N] int64;
    negative ones (-100) give 0, 0 and no gradient. Gradients to hidden, weight and bias, sums over rows in fp32; logits
    are computed again in backward; on a GPU half-precision weights meet gradients of logits in their own dtype, as
    under autocast. chunk_bytes bounds the logits held at once (0: 1.25 GiB on a GPU, 64 MiB on CPU; at least 128 or 16
    rows, at most 2048). Raises ValueError for shapes, dtypes or a temperature that do not fit, for targets outside the
    vocabulary (on CPU; on a GPU their log-prob is NaN), and for a weight that ZeRO-3 holds elsewhere.
    """
    _check_head(hidden_ND, weight_VD, target_N, temperature)
    if is_reference():
        return reference.linear_logprob(hidden_ND, weight_VD, target_N, temperature, bias_V)
    logprob_N, entropy_N, _ = forward_op(hidden_ND, weight_VD, target_N, temperature, bias_V, chunk_bytes)
    return logprob_N, entropy_N


def linear_logprob_kl(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    reference_hidden_ND: Tensor,
    reference_weight_VD: Tensor,
    target_N: Tensor,
    temperature: float = 1.0,
    bias_V: Tensor | None = None,
    reference_bias_V: Tensor | None = None,
    chunk_bytes: int = 0,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Log-prob, reference log-prob, entropy and exact KL(policy || reference) of each token (nats), [N] fp32.

    For scoring: no gradient. The KL is the sum over the vocabulary that k1 and k3 (policy/kl.py) estimate from one
    token. Log-probs have the bits of linear_logprob. The reference has the same vocabulary; its hidden size may differ.
    Arguments and errors as for linear_logprob; two workspaces of chunk_bytes.
    """
    _check_head(hidden_ND, weight_VD, target_N, temperature)
    _check_head(reference_hidden_ND, reference_weight_VD, target_N, temperature)
    if len(weight_VD) != len(reference_weight_VD) or weight_VD.dtype != reference_weight_VD.dtype:
        raise ValueError(
            f"weight {list(weight_VD.shape)} {weight_VD.dtype} and reference weight {list(reference_weight_VD.shape)} "
            f"{reference_weight_VD.dtype} must agree in vocabulary and dtype"
        )
    heads = hidden_ND, weight_VD, reference_hidden_ND, reference_weight_VD
    with torch.no_grad():
        if is_reference():
            return reference.linear_logprob_kl(*heads, target_N, temperature, bias_V, reference_bias_V)
        return forward_kl_op(*heads, target_N, temperature, bias_V, reference_bias_V, chunk_bytes)


def ppo_linear_loss(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    target_N: Tensor,
    old_logprob_N: Tensor,
    advantage_N: Tensor,
    mask_N: Tensor,
    temperature: float,
    clip_range: float,
    entropy_coefficient: float,
    denominator: Denominator,
    bias_V: Tensor | None = None,
    chunk_bytes: int = 0,
) -> tuple[Tensor, PPOStatistics]:
    """PPO's clipped loss minus entropy_coefficient * mean entropy, from hidden states: scalar fp32 and statistics.

    Clipped surrogate: max(-A r, -A clip(r, 1 -+ clip_range)), r = exp(logprob - old), log-ratio within +-20 (Schulman
    et al., arXiv 1707.06347, eq. 7). Sums over mask [N] bool / denominator, which is the number of tokens of the whole
    optimiser step. old_logprob and advantage [N] fp32 get no gradient. Gradients to hidden, weight and bias are formed
    in the forward, where the logits are (three GEMMs, none for a frozen weight), and scaled in backward: under ZeRO-3
    the weight is needed in the forward alone. Other arguments and errors as for linear_logprob.
    """
    _check_head(hidden_ND, weight_VD, target_N, temperature)
    _check_rows(target_N, old_logprob=old_logprob_N, advantage=advantage_N, mask=mask_N)
    if mask_N.dtype != torch.bool:
        raise ValueError(f"mask must be bool, got {mask_N.dtype}")
    old_logprob_N, advantage_N, kept_N = old_logprob_N.detach(), advantage_N.detach(), mask_N & (target_N >= 0)
    if is_reference():
        vectors = target_N, old_logprob_N, advantage_N, mask_N
        settings = temperature, clip_range, entropy_coefficient, denominator
        loss, named = reference.ppo_linear_loss(hidden_ND, weight_VD, *vectors, *settings, bias_V)
        return loss, PPOStatistics(**named)
    grad = torch.is_grad_enabled()
    loss, logprob_N, entropy_N, *_ = ppo_op(
        hidden_ND,
        weight_VD,
        target_N.where(kept_N, -100),
        old_logprob_N,
        advantage_N,
        temperature,
        clip_range,
        entropy_coefficient,
        bias_V,
        chunk_bytes,
        grad and hidden_ND.requires_grad,
        grad and weight_VD.requires_grad,
        grad and bias_V is not None and bias_V.requires_grad,
    )
    with torch.no_grad():
        tokens = clipped_surrogate(logprob_N, old_logprob_N, advantage_N, clip_range)

        def mean(x_N: Tensor) -> Tensor:
            return x_N.where(kept_N, 0.0).sum() / denominator

        statistics = PPOStatistics(
            policy_loss=mean(tokens.loss),
            entropy=mean(entropy_N),
            approx_kl=mean(0.5 * tokens.log_ratio.square()),
            clip_fraction=mean(((tokens.ratio - 1).abs() > clip_range).to(logprob_N.dtype)),
            ratio=mean(tokens.ratio),
            ratio_squared=mean(tokens.ratio.square()),
        )
    return loss / denominator, statistics


def token_returns(
    score_B: Tensor, kl_BT: Tensor, values_BT: Tensor, mask_BT: Tensor, kl_coefficient: float, gamma: float, lam: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rewards, advantages and returns [B, T] fp32, and the advantages' statistics [3] fp64, without gradient.

    Rewards: -kl_coefficient * kl at each token and the score at the last one (Ziegler et al., arXiv 1909.08593, eq. 2).
    Advantages: GAE (Schulman et al., arXiv 1506.02438, eq. 16), the value after the last token being 0; returns are
    advantages + values. All are 0 at masked positions, whatever stands there. mask [B, T] bool: each row is true up to
    the response's last token. Statistics: count, mean and sum of (advantage - mean)^2, to be merged over ranks (Chan,
    Golub and LeVeque, 1979) before `whiten`. Raises ValueError for shapes that do not fit.
    """
    _check_returns(values_BT, kl=kl_BT, mask=mask_BT)
    if score_B.shape != values_BT.shape[:1]:
        raise ValueError(f"score must have shape {list(values_BT.shape[:1])}, got {list(score_B.shape)}")
    tokens = score_B.float(), kl_BT.float(), values_BT.float(), mask_BT
    with torch.no_grad():
        run = reference.token_returns if is_reference() else token_returns_op
        return run(*tokens, kl_coefficient, gamma, lam)


def whiten(advantages_BT: Tensor, mask_BT: Tensor, statistics_3: Tensor, shift_mean: bool = True) -> Tensor:
    """(x - mean) / sqrt(m2 / count + 1e-8), plus the mean unless `shift_mean`: [B, T] fp32, 0 at masked positions.

    statistics [3] as token_returns gives them, merged over ranks; no gradient. Raises ValueError for shapes that do not
    fit.
    """
    _check_returns(advantages_BT, mask=mask_BT)
    if statistics_3.shape != (3,):
        raise ValueError(f"statistics must be [count, mean, m2], got shape {list(statistics_3.shape)}")
    with torch.no_grad():
        run = reference.whiten if is_reference() else whiten_op
        return run(advantages_BT.float(), mask_BT, statistics_3.double(), shift_mean)


def _check_head(hidden_ND: Tensor, weight_VD: Tensor, target_N: Tensor, temperature: float) -> None:
    if weight_VD.numel() == 0:
        raise ValueError("the head's weight is empty: under ZeRO-3 call the op inside the forward of its module")
    if hidden_ND.dim() != 2 or weight_VD.dim() != 2 or hidden_ND.shape[1] != weight_VD.shape[1]:
        raise ValueError(
            f"hidden must be [N, D] and weight [V, D], got {list(hidden_ND.shape)} and {list(weight_VD.shape)}"
        )
    if target_N.dtype != torch.int64 or target_N.shape != hidden_ND.shape[:1]:
        raise ValueError(
            f"target must be int64 of shape {list(hidden_ND.shape[:1])}, got {target_N.dtype} {list(target_N.shape)}"
        )
    if not temperature > 0:
        raise ValueError(f"temperature={temperature} must be above 0")


def _check_rows(target_N: Tensor, **vectors: Tensor) -> None:
    for name, x_N in vectors.items():
        if x_N.shape != target_N.shape:
            raise ValueError(f"{name} must have shape {list(target_N.shape)}, got {list(x_N.shape)}")


def _check_returns(x_BT: Tensor, **others: Tensor) -> None:
    for name, other_BT in others.items():
        if x_BT.dim() != 2 or other_BT.shape != x_BT.shape:
            raise ValueError(f"{name} must have shape [B, T] = {list(x_BT.shape)}, got {list(other_BT.shape)}")
        if name == "mask" and other_BT.dtype != torch.bool:
            raise ValueError(f"mask must be bool, got {other_BT.dtype}")
