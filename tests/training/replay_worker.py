"""Run by test_replay.py: records five steps of PPO on the tiny model, and replays their updates on each backend.

replay_worker.py TINY_MODEL REWARD_ARTIFACT FOLDER full|lora: prints one JSON line a backend, which is its largest
differences from the backend `reference`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sandwiching.configs.schema import (
    CapitalsTask,
    DataConfig,
    LoraConfig,
    ModelConfig,
    OptimizerConfig,
    PPOConfig,
    ResourcesConfig,
    RewardModelConfig,
    SamplingConfig,
)
from sandwiching.kernels.backends import has_triton, use_backend
from sandwiching.launch.local import LocalRoles
from sandwiching.policy.records import PPOBatch
from sandwiching.training.artifacts import StageFolder
from sandwiching.training.learner import DeepSpeedLearner
from sandwiching.training.ppo import train_ppo
from sandwiching.training.roles import LearnerSpec

STEPS = 5


class Recorder(LocalRoles):
    """Roles in this process that keep what the learner is made of and trains on."""

    spec: LearnerSpec

    def learner(self, spec: LearnerSpec) -> DeepSpeedLearner:
        learner, self.spec, self.batches = super().learner(spec), spec, list[PPOBatch]()
        assert isinstance(learner, DeepSpeedLearner)
        update = learner.update

        def recorded(batch: PPOBatch, step: int, may_stop: bool = False) -> dict[str, float]:
            self.batches.append(batch)
            return update(batch, step, may_stop)

        learner.update = recorded
        return learner


def record(tiny: Path, reward: Path, folder: Path, lora: bool) -> Recorder:
    """Five steps of the whole loop."""
    roles = Recorder(ResourcesConfig(micro_batch=4, zero_stage=0))
    train_ppo(
        model=ModelConfig(path=str(tiny), lora=LoraConfig(rank=4, alpha=8) if lora else None),
        task=CapitalsTask(name="capitals", max_prompts=16),
        data=DataConfig(),
        reward_model=RewardModelConfig(),
        ppo=PPOConfig(
            steps=STEPS,
            batch_size=8,
            epochs=2,
            optimizer=OptimizerConfig(learning_rate=1e-3, scheduler="constant"),
            sampling=SamplingConfig(max_new_tokens=8),
            entropy_coefficient=0.01,
            missing_eos="ignore",
        ),
        seed=0,
        resources=roles.resources,
        parents={"reward_model/0": reward},
        folder=StageFolder(folder, 0),
        roles=roles,
    )
    return roles


def replay(backend: str, roles: Recorder) -> list[dict[str, Any]]:
    """Policy loss, last gradients and weights of each step."""
    use_backend(backend)
    learner = DeepSpeedLearner(roles.spec, roles.resources)
    trained = {name: p for name, p in learner.module.named_parameters() if p.requires_grad}
    gradients: dict[str, Tensor] = {}

    def keep(name: str, parameter: Tensor) -> None:
        assert parameter.grad is not None
        gradients[name] = parameter.grad.clone()

    for name, parameter in trained.items():
        parameter.register_post_accumulate_grad_hook(lambda p, name=name: keep(name, p))
    steps = []
    for step, batch in enumerate(roles.batches):
        loss = learner.update(batch, step)["policy_loss"]
        weights = {name: parameter.detach().clone() for name, parameter in trained.items()}
        steps.append({"loss": loss, "gradients": dict(gradients), "weights": weights})
    return steps


def distance(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Norm of the difference over the norm, of all tensors together."""
    assert found.keys() == expected.keys()
    difference = torch.stack([(found[name] - expected[name]).norm() for name in expected]).norm()
    return float(difference / torch.stack([x.norm() for x in expected.values()]).norm())


def main(tiny: Path, reward: Path, folder: Path, lora: bool) -> None:
    torch.set_num_threads(1)
    folder.mkdir()
    roles = record(tiny, reward, folder, lora)
    assert len(roles.batches) == STEPS
    expected = replay("reference", roles)
    for backend in ("torch", *(["triton"] if has_triton() else [])):
        pairs = list(zip(replay(backend, roles), expected, strict=True))
        result = {"backend": backend, "loss": max(abs(ours["loss"] - right["loss"]) for ours, right in pairs)}
        for name in ("gradients", "weights"):
            result[name] = max(distance(ours[name], right[name]) for ours, right in pairs)
        print(json.dumps(result))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), lora=sys.argv[4] == "lora")
