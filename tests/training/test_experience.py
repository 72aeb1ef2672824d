"""What stale rollouts and a wrong engine do to an experience."""

import pytest
import torch
from torch import Tensor

from sandwiching.configs.schema import PPOConfig, RewardModelConfig
from sandwiching.policy.padding import padded_left, padded_right
from sandwiching.policy.records import Evaluation, PPOBatch, Rollouts
from sandwiching.training.experience import experience, refuse_another_policy, worst_layer
from sandwiching.training.roles import Scores

PPO = PPOConfig(missing_eos="ignore", importance_cap=1.5, most_mismatch=0.1)


def case(shift: float) -> tuple[Rollouts, Scores, Evaluation]:
    """Three responses whose tokens have become exp(shift) times as likely since they were sampled."""
    tokens_BP, attention_BP = padded_left([[1, 2], [3], [4, 5, 6]], 0)
    tokens_BT, mask_BT = padded_right([[7, 8], [9, 10, 11], [12]], 0)
    behaviour_BT = -torch.rand(mask_BT.shape, generator=torch.Generator().manual_seed(0)) * mask_BT
    rollouts = Rollouts(
        ("a", "b", "c"),
        (0, 0, 0),
        torch.cat([tokens_BP, tokens_BT], 1),
        torch.cat([attention_BP, mask_BT], 1),
        mask_BT,
        torch.ones(3, dtype=torch.bool),
        behaviour_BT,
    )
    zeros_BT = torch.zeros(mask_BT.shape)
    logprobs_BT = (behaviour_BT + shift) * mask_BT
    evaluation = Evaluation(torch.arange(3), logprobs_BT, zeros_BT, zeros_BT, zeros_BT, zeros_BT)
    return rollouts, Scores(torch.tensor([[1.0, -2.0, 0.5]]), None), evaluation


def made(shift: float, staleness: int) -> tuple[PPOBatch, dict[str, float]]:
    batch, record = experience(*case(shift), PPO, RewardModelConfig(), 0.0, staleness)
    return batch, record.metrics


def test_advantages_of_stale_tokens_are_weighted():
    fresh, metrics = made(0.2, staleness=0)
    assert (metrics["ppo/importance"], metrics["ppo/importance_capped"]) == (1.0, 0.0)
    stale, metrics = made(0.2, staleness=1)
    torch.testing.assert_close(stale.advantages_BT, fresh.advantages_BT * torch.tensor(0.2).exp())
    assert metrics["ppo/staleness"] == 1
    assert metrics["ppo/importance"] == pytest.approx(1.2214, abs=1e-4)
    assert metrics["ppo/importance_capped"] == 0


def test_weights_stop_at_the_cap():
    fresh, _ = made(3.0, staleness=0)
    stale, metrics = made(3.0, staleness=1)
    torch.testing.assert_close(stale.advantages_BT, fresh.advantages_BT * 1.5)
    assert metrics["ppo/importance_capped"] == 1


def test_an_engine_that_samples_from_another_policy_stops_the_run():
    learner_LD = torch.ones(3, 4)
    engine_LD = learner_LD * torch.tensor([[1.0], [1.5], [1.6]])

    def states() -> tuple[Tensor, Tensor]:
        return engine_LD, learner_LD

    def never() -> tuple[Tensor, Tensor]:
        raise AssertionError("asked for layers")

    refuse_another_policy(made(0.05, staleness=0)[1], 0.1, never)
    with pytest.raises(
        RuntimeError, match=r"0\.2 nats a token .* ppo\.most_mismatch=0\.1.* layer 1 differs most \(0\.5 "
    ):
        refuse_another_policy(made(0.2, staleness=0)[1], 0.1, states)
    with pytest.raises(RuntimeError, match=r"could not be found out: asked for layers"):
        refuse_another_policy(made(0.2, staleness=1)[1], 0.1, never)
    assert worst_layer(torch.zeros(0), learner_LD) == "the engine cannot tell in which layer"
