"""PPO on real Ray actors: two gloo ranks under every ZeRO stage equal one process; a killed actor says so."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from sandwiching.configs.schema import (
    CapitalsTask,
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    PPOConfig,
    ResourcesConfig,
    RewardModelConfig,
    SamplingConfig,
)
from sandwiching.launch.environment import set_library_environment
from sandwiching.launch.failures import NotInTime
from sandwiching.policy.base_models import resolve
from sandwiching.training.artifacts import StageFolder
from sandwiching.training.metrics import read_metrics

set_library_environment(gpus=0)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """One Ray for the module."""
    import ray

    from sandwiching.launch.cluster import start_ray

    start_ray(ResourcesConfig(cpus=2))
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def reward_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(resolve("tiny"), num_labels=1)
    model.config.update({"reward_mean": 0.0, "reward_std": 1.0, "pad_token_id": 0})
    folder = tmp_path_factory.mktemp("reward")
    model.save_pretrained(folder / "model")
    return folder


def train(path: Path, reward: Path, **where: Any) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """Weights and metrics of a short PPO run on Ray."""
    from sandwiching.launch.ray_runner import RayRoles
    from sandwiching.training.ppo import train_ppo

    path.mkdir(exist_ok=True)
    folder = StageFolder(path, 0)
    resources = ResourcesConfig(cpus=2, micro_batch=2, checkpoint_every=1, **where)
    roles = RayRoles(resources)
    try:
        train_ppo(
            model=ModelConfig(path="tiny"),
            task=CapitalsTask(name="capitals", max_prompts=16),
            data=DataConfig(),
            reward_model=RewardModelConfig(),
            ppo=PPOConfig(
                steps=2,
                batch_size=8,
                epochs=2,
                minibatches=2,
                missing_eos="ignore",
                # A large epsilon makes Adam nearly linear: a gradient of wrong size would show.
                optimizer=OptimizerConfig(learning_rate=1e-1, adam_epsilon=1.0, max_grad_norm=1e9),
                sampling=SamplingConfig(max_new_tokens=6),
            ),
            seed=0,
            resources=resources,
            parents={"reward_model/0": reward},
            folder=folder,
            roles=roles,
        )
    finally:
        roles.close()
    return load_file(folder.model / "model.safetensors"), read_metrics(folder.metrics)


def test_a_process_that_is_not_ready_in_time_names_the_setting(
    cluster: None, reward_artifact: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        NotInTime, match=r"EngineActor did not load its models within 0.01 s: raise resources.load_timeout"
    ):
        train(tmp_path / "ppo", reward_artifact, load_timeout=0.01)


@pytest.fixture(scope="module")
def one_rank(cluster: None, reward_artifact: Path, tmp_path_factory: pytest.TempPathFactory):
    return train(tmp_path_factory.mktemp("one") / "ppo", reward_artifact, learner_ranks=1, zero_stage=1)


@pytest.mark.parametrize("zero_stage", [3, *(pytest.param(stage, marks=pytest.mark.slow) for stage in (0, 1, 2))])
def test_two_ranks_and_two_engines_equal_one(zero_stage: int, one_rank, reward_artifact: Path, tmp_path: Path) -> None:
    weights, metrics = one_rank
    other, others = train(tmp_path / "ppo", reward_artifact, learner_ranks=2, rollout_engines=2, zero_stage=zero_stage)
    start = load_file(resolve("tiny") / "model.safetensors")
    assert max((weights[name] - start[name].float()).abs().max() for name in start) > 1e-3
    for name in weights:
        assert torch.allclose(weights[name], other[name], rtol=0, atol=2e-5), name
    for row, twin in zip(metrics, others, strict=True):
        for key in ("ppo/score", "ppo/kl", "ppo/policy_loss", "ppo/value_loss", "ppo/entropy", "ppo/response_tokens"):
            assert row[key] == pytest.approx(twin[key], abs=1e-4), key


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after"), [((2, 3), (1, 1)), ((1, 1), (2, 3)), ((2, 1), (1, 1)), ((1, 0), (2, 2)), ((2, 2), (1, 0))]
)
def test_a_checkpoint_goes_on_under_another_layout(
    before: tuple[int, int], after: tuple[int, int], one_rank, reward_artifact: Path, tmp_path: Path
) -> None:
    """Learner ranks and ZeRO stage."""
    weights, metrics = one_rank
    path = tmp_path / "ppo"
    train(path, reward_artifact, learner_ranks=before[0], zero_stage=before[1])
    shutil.rmtree(path / "checkpoints" / "step_2")
    other, others = train(path, reward_artifact, learner_ranks=after[0], zero_stage=after[1])
    assert [row["step"] for row in others] == [1, 2]
    assert others[1]["ppo/policy_loss"] == pytest.approx(metrics[1]["ppo/policy_loss"], abs=1e-4)
    for name in weights:
        assert torch.allclose(weights[name], other[name], rtol=0, atol=2e-5), name
    assert not list((path / "checkpoints").glob(".*"))
