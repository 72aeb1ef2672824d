"""What the ops mean: plain torch with autograd, all logits in memory. The oracle of their tests, and a backend.

Shape suffixes of this folder: N rows (tokens), D hidden size, V vocabulary, R rows of a chunk, B sequences, T tokens of
a sequence.
"""

from __future__ import annotations

import torch
from torch import Tensor

LOG_RATIO_LIMIT = 20.0
EPSILON = 1e-8


def log_softmax_rows(hidden_ND: Tensor, weight_VD: Tensor, temperature: float, bias_V: Tensor | None = None) -> Tensor:
    """Log-probs [N, V] of all tokens, fp32 (or fp64) from operands of the weight's dtype."""
    wide = torch.promote_types(weight_VD.dtype, torch.float32)
    logits_NV = hidden_ND.to(weight_VD.dtype).to(wide) @ weight_VD.to(wide).T
    if bias_V is not None:
        logits_NV = logits_NV + bias_V.to(wide)
    return (logits_NV / temperature).log_softmax(-1)


def logprob_and_entropy(logprobs_NV: Tensor, target_N: Tensor) -> tuple[Tensor, Tensor]:
    """The target's log-prob and the entropy; 0 for ignored targets (negative)."""
    kept_N = target_N >= 0
    logprob_N = logprobs_NV.gather(1, target_N.clamp(min=0)[:, None]).squeeze(1)
    # Masked twice, so that a token of probability 0 gives no NaN in the gradient either.
    possible_NV = logprobs_NV.exp() > 0
    finite_NV = logprobs_NV.where(possible_NV, 0.0)
    entropy_N = -(finite_NV.exp() * finite_NV).where(possible_NV, 0.0).sum(1)
    return logprob_N.where(kept_N, 0.0), entropy_N.where(kept_N, 0.0)


def linear_logprob(
    hidden_ND: Tensor, weight_VD: Tensor, target_N: Tensor, temperature: float = 1.0, bias_V: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """As ops.linear_logprob."""
    return logprob_and_entropy(log_softmax_rows(hidden_ND, weight_VD, temperature, bias_V), target_N)


def linear_logprob_kl(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    reference_hidden_ND: Tensor,
    reference_weight_VD: Tensor,
    target_N: Tensor,
    temperature: float = 1.0,
    bias_V: Tensor | None = None,
    reference_bias_V: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As ops.linear_logprob_kl."""
    policy_NV = log_softmax_rows(hidden_ND, weight_VD, temperature, bias_V)
    reference_NV = log_softmax_rows(reference_hidden_ND, reference_weight_VD, temperature, reference_bias_V)
    logprob_N, entropy_N = logprob_and_entropy(policy_NV, target_N)
    reference_logprob_N, _ = logprob_and_entropy(reference_NV, target_N)
    kl_N = (policy_NV.exp() * (policy_NV - reference_NV)).where(policy_NV.exp() > 0, 0.0).sum(1)
    return logprob_N, reference_logprob_N, entropy_N, kl_N.where(target_N >= 0, 0.0)


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
    denominator: float | Tensor,
    bias_V: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of ops.ppo_linear_loss, and its statistics by name."""
    mask_N = mask_N & (target_N >= 0)
    logprob_N, entropy_N = linear_logprob(hidden_ND, weight_VD, target_N.where(mask_N, -100), temperature, bias_V)
    log_ratio_N = (logprob_N - old_logprob_N).where(mask_N, 0.0).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
    ratio_N = log_ratio_N.exp()
    clipped_N = ratio_N.clamp(1 - clip_range, 1 + clip_range)

    def mean(x_N: Tensor) -> Tensor:
        return x_N.where(mask_N, 0.0).sum() / denominator

    loss = mean(torch.maximum(-advantage_N * ratio_N, -advantage_N * clipped_N))
    entropy = mean(entropy_N)
    statistics = {
        "policy_loss": loss.detach(),
        "entropy": entropy.detach(),
        "approx_kl": mean(log_ratio_N.square() / 2).detach(),
        "clip_fraction": mean((ratio_N != clipped_N).to(ratio_N.dtype)),
        "ratio": mean(ratio_N).detach(),
        "ratio_squared": mean(ratio_N.square()).detach(),
    }
    return loss - entropy_coefficient * entropy, statistics


def token_returns(
    score_B: Tensor, kl_BT: Tensor, values_BT: Tensor, mask_BT: Tensor, kl_coefficient: float, gamma: float, lam: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As ops.token_returns, token by token."""
    rewards_BT, advantages_BT, returns_BT = (torch.zeros_like(values_BT) for _ in range(3))
    B, T = values_BT.shape
    for b in range(B):
        advantage = next_value = torch.zeros_like(score_B[0])
        for t in reversed(range(T)):
            present = bool(mask_BT[b, t])
            is_last = present and (t == T - 1 or not mask_BT[b, t + 1])
            value = values_BT[b, t] if present else torch.zeros_like(next_value)
            reward = -kl_coefficient * kl_BT[b, t] if present else torch.zeros_like(next_value)
            reward = reward + score_B[b] if is_last else reward
            advantage = reward + gamma * next_value - value + gamma * lam * advantage
            next_value = value
            if present:
                rewards_BT[b, t], advantages_BT[b, t], returns_BT[b, t] = reward, advantage, advantage + value
    kept_N = advantages_BT[mask_BT].double()
    mean = kept_N.sum() / max(1, kept_N.numel())
    return (
        rewards_BT,
        advantages_BT,
        returns_BT,
        torch.stack([kept_N.new_tensor(kept_N.numel()), mean, (kept_N - mean).square().sum()]),
    )


def whiten(advantages_BT: Tensor, mask_BT: Tensor, statistics_3: Tensor, shift_mean: bool = True) -> Tensor:
    """As ops.whiten."""
    count, mean, m2 = statistics_3.to(torch.float64)
    white_BT = (advantages_BT.double() - mean) / (m2 / count.clamp(min=1) + EPSILON).sqrt()
    return (white_BT if shift_mean else white_BT + mean).to(advantages_BT.dtype).where(mask_BT, 0.0)
