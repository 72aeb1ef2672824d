"""From rollouts, scores and evaluations to what an update trains on. Pure: tensors in, tensors out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sandwiching.configs.schema import PPOConfig, RewardModelConfig
from sandwiching.policy.advantages import ADVANTAGES, token_rewards, truncated_importance, whiten, whitened
from sandwiching.policy.kl import KL_ESTIMATORS
from sandwiching.policy.losses import MISSING_EOS
from sandwiching.policy.records import Evaluation, PPOBatch, Rollouts
from sandwiching.reward_model.ensemble import COMBINE
from sandwiching.training.roles import Scores


@dataclass(frozen=True, slots=True)
class StepRecord:
    """score_B after the end-of-text rule, kl_B in nats a sequence, and the step's metrics (docs/metrics.md)."""

    score_B: Tensor
    kl_B: Tensor
    metrics: dict[str, float]


def group_index(prompt_ids: tuple[str, ...]) -> Tensor:
    """[B] int64: the same number for the responses to one prompt."""
    numbers: dict[str, int] = {}
    return torch.tensor([numbers.setdefault(prompt, len(numbers)) for prompt in prompt_ids])


def experience(
    rollouts: Rollouts,
    scores: Scores,
    evaluation: Evaluation,
    ppo: PPOConfig,
    reward_model: RewardModelConfig,
    kl_coefficient: float,
    staleness: int,
) -> tuple[PPOBatch, StepRecord]:
    """Combine the ensemble, penalise KL, estimate and whiten advantages over the whole batch.

    staleness: updates since the weights that sampled. Advantages of stale rollouts are weighted by how likely the
    policy would sample them now.
    """
    mask_BT = rollouts.response_mask_BT
    reference_BT = evaluation.reference_logprobs_BT
    if scores.reference_logprobs_BT is not None:
        reference_BT = scores.reference_logprobs_BT
    combined_B = COMBINE[reward_model.combine](scores.rewards_KB, reward_model.uwo_lambda)
    score_B = MISSING_EOS[ppo.missing_eos](combined_B, rollouts.finished_B, ppo.missing_eos_score)
    log_ratio_BT = (evaluation.logprobs_BT - reference_BT) * mask_BT
    penalty_BT = KL_ESTIMATORS[ppo.kl.estimator](log_ratio_BT) * mask_BT
    final_B, cost_BT, price = score_B, penalty_BT, kl_coefficient
    if ppo.whiten_rewards:
        rewards_BT = token_rewards(score_B, penalty_BT, mask_BT, kl_coefficient)
        final_B, cost_BT, price = torch.zeros_like(score_B), -whitened(rewards_BT, mask_BT, shift_mean=False), 1.0
    values_BT, groups_B = evaluation.values_BT, group_index(rollouts.prompt_ids)
    rewards_BT, advantages_BT, returns_BT, statistics_3 = ADVANTAGES[ppo.advantage](
        final_B, cost_BT, values_BT, mask_BT, groups_B, price, ppo.gamma, ppo.lam
    )
    weight_BT = importance(rollouts, evaluation, ppo.importance_cap) if staleness else torch.ones_like(advantages_BT)
    batch = PPOBatch(
        tokens_BS=rollouts.tokens_BS,
        attention_BS=rollouts.attention_BS,
        response_mask_BT=mask_BT,
        logprobs_BT=evaluation.logprobs_BT,
        values_BT=values_BT,
        advantages_BT=whiten(advantages_BT, mask_BT, statistics_3) * weight_BT,
        returns_BT=returns_BT,
    )
    kl_B = log_ratio_BT.sum(1)
    metrics = _metrics(rollouts, scores, evaluation, combined_B, score_B, kl_B)
    metrics |= _staleness(weight_BT, mask_BT, ppo.importance_cap, staleness)
    if scores.reference_logprobs_BT is None:
        metrics["ppo/kl_exact"] = float(evaluation.kl_BT.sum(1).mean())
    metrics["ppo/kl_coefficient"] = kl_coefficient
    metrics["ppo/return"] = float(rewards_BT.sum(1).mean())
    return batch, StepRecord(score_B, kl_B, metrics)


def importance(rollouts: Rollouts, evaluation: Evaluation, cap: float) -> Tensor:
    """Weights [B, T] of stale rollouts: see advantages.truncated_importance."""
    behaviour_BT = rollouts.behaviour_logprobs_BT
    return truncated_importance(evaluation.logprobs_BT, behaviour_BT, rollouts.response_mask_BT, cap)


def refuse_another_policy(
    metrics: Mapping[str, float], most_mismatch: float, layer_states: Callable[[], tuple[Tensor, Tensor]]
) -> None:
    """Raise RuntimeError when rollouts are far from what the policy would sample: its weights do not arrive whole.

    layer_states: what engine and learner make of one text, layer by layer [L, D]; asked for only then.
    """
    if metrics["ppo/engine_mismatch"] > most_mismatch:
        try:
            where = worst_layer(*layer_states())
        except Exception as error:  # noqa: BLE001 - a diagnosis must not hide what it explains
            where = f"in which layer could not be found out: {error}"
        raise RuntimeError(
            f"the engine's log-probs are {metrics['ppo/engine_mismatch']:.3g} nats a token off the learner's (mean), "
            f"more than ppo.most_mismatch={most_mismatch}: it does not sample from the policy that was pushed; "
            f"{where}"
        )


def worst_layer(engine_LD: Tensor, learner_LD: Tensor) -> str:
    """Words for the decoder layer behind which engine and learner are further apart than before it, relatively."""
    if not len(engine_LD):
        return "the engine cannot tell in which layer"
    apart_L = (engine_LD - learner_LD).norm(dim=1) / learner_LD.norm(dim=1)
    added_L = apart_L.diff(prepend=torch.zeros(1))
    layer = int(added_L.argmax())
    return f"decoder layer {layer} differs most ({apart_L[layer]:.2g} of its output's norm)"


def _staleness(weight_BT: Tensor, mask_BT: Tensor, cap: float, staleness: int) -> dict[str, float]:
    weight_M = weight_BT[mask_BT]
    return {
        "ppo/staleness": float(staleness),
        "ppo/importance": float(weight_M.mean()),
        "ppo/importance_capped": float((weight_M >= cap).float().mean()),
    }


def _metrics(
    rollouts: Rollouts, scores: Scores, evaluation: Evaluation, combined_B: Tensor, score_B: Tensor, kl_B: Tensor
) -> dict[str, float]:
    mask_BT = rollouts.response_mask_BT
    tokens = mask_BT.sum().clamp(min=1)
    mismatch_BT = (evaluation.logprobs_BT - rollouts.behaviour_logprobs_BT).abs() * mask_BT
    return {
        "ppo/score": float(combined_B.mean()),
        "ppo/score_with_eos_rule": float(score_B.mean()),
        "ppo/score_spread": float(scores.rewards_KB.std(0, unbiased=False).mean()),
        "ppo/kl": float(kl_B.mean()),
        "ppo/entropy_before": float((evaluation.entropy_BT * mask_BT).sum() / tokens),
        "ppo/tokens": float(rollouts.attention_BS.sum()),
        "ppo/response_tokens": float(mask_BT.sum(1).float().mean()),
        "ppo/finished": float(rollouts.finished_B.float().mean()),
        "ppo/engine_mismatch": float(mismatch_BT.sum() / tokens),
    }
