"""PPO on a Ray cluster of three nodes (three raylets on this host) of which one is killed, or never was there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from ray_here import Nodes
from transformers import AutoModelForSequenceClassification

from sandwiching.configs.schema import (
    CapitalsTask,
    DataConfig,
    ModelConfig,
    PPOConfig,
    ResourcesConfig,
    RewardModelConfig,
    SamplingConfig,
)
from sandwiching.launch.environment import set_library_environment
from sandwiching.launch.failures import NoRoom
from sandwiching.launch.placement import DoesNotFit
from sandwiching.policy.base_models import resolve
from sandwiching.training.artifacts import StageFolder, file_sha256, write_manifest
from sandwiching.training.metrics import read_metrics
from sandwiching.training.stage import StageCall

pytestmark = pytest.mark.cluster
set_library_environment(gpus=0)


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    found = Nodes()
    monkeypatch.setenv("RAY_ADDRESS", found.address)
    yield found
    found.shutdown()


@pytest.fixture(scope="module")
def reward_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(resolve("tiny"), num_labels=1)
    model.config.update({"reward_mean": 0.0, "reward_std": 1.0, "pad_token_id": 0})
    folder = StageFolder(tmp_path_factory.mktemp("reward"), 0)
    model.save_pretrained(folder.model)
    fields = {"stage": "reward_model", "version": 1, "key": "r", "inputs": {}, "parents": {}, "metrics": {}}
    write_manifest(folder, {**fields, "seconds": 0.0})
    return folder.path


def ppo(path: Path, reward: Path, steps: int) -> StageCall:
    """A short PPO run, as the graph would make it."""
    path.mkdir()
    blocks = {
        "model": ModelConfig(path="tiny"),
        "task": CapitalsTask(name="capitals", max_prompts=16),
        "data": DataConfig(),
        "reward_model": RewardModelConfig(),
        "ppo": PPOConfig(steps=steps, batch_size=8, missing_eos="ignore", sampling=SamplingConfig(max_new_tokens=6)),
    }
    return StageCall(
        stage="ppo",
        version=1,
        key="p",
        function="sandwiching.training.ppo:train_ppo",
        arguments={**blocks, "seed": 0},
        key_inputs={},
        parent_keys={},
        parents={"reward_model/0": reward},
        folder=StageFolder(path, 0),
    )


def no_head_is_lost(error: BaseException) -> None:
    raise error


def run(resources: ResourcesConfig, call: StageCall, storage: Path) -> None:
    from sandwiching.launch.ray_runner import RayRunner

    with RayRunner(resources, storage, no_head_is_lost) as runner:
        runner.run_with_roles([call])


def after_step(call: StageCall, step: int, do: Callable[[], None]) -> threading.Thread:
    """Do something once the stage has recorded a step."""

    def wait() -> None:
        while len(read_metrics(call.folder.metrics)) < step:
            time.sleep(0.01)
        do()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def weights(call: StageCall) -> str:
    return file_sha256(call.folder.model / "model.safetensors")


def results(call: StageCall) -> list[dict[str, Any]]:
    own = ("time/", "ppo/engine_restarts")
    return [
        {key: value for key, value in row.items() if not key.startswith(own)}
        for row in read_metrics(call.folder.metrics)
    ]


def two_places(placement: str, start_timeout: float = 120.0) -> ResourcesConfig:
    """Two bundles of a core, or of two on a node each with strict_spread."""
    nodes = 2 if placement == "strict_spread" else 1
    return ResourcesConfig(
        cpus=2,
        nodes=nodes,
        learner_ranks=2,
        rollout_engines=2,
        micro_batch=2,
        checkpoint_every=2,
        placement=placement,
        start_timeout=start_timeout,
    )


@pytest.mark.slow
def test_a_node_killed_in_ppo_changes_nothing(nodes: Nodes, reward_artifact: Path, tmp_path: Path) -> None:
    resources = two_places("spread")
    right, lost = ppo(tmp_path / "right", reward_artifact, 6), ppo(tmp_path / "lost", reward_artifact, 6)
    run(resources, right, tmp_path)
    killer = after_step(lost, 3, nodes.kill_node)
    run(resources, lost, tmp_path)
    assert not killer.is_alive()
    assert weights(lost) == weights(right)
    assert results(lost) == results(right)


@pytest.mark.parametrize(
    ("resources", "missing"),
    [
        # Four CPUs there are, but two bundles of 1.33 fit on no node of two.
        (ResourcesConfig(cpus=4, learner_ranks=3, rollout_engines=3), "1 of 1.333 CPUs"),
        (
            ResourcesConfig(cpus=1, nodes=3, learner_ranks=3, rollout_engines=3, placement="strict_spread"),
            "1 of 1 CPUs",
        ),
    ],
)
def test_what_cannot_fit_fails_at_once_and_says_what_is_missing(
    nodes: Nodes, reward_artifact: Path, tmp_path: Path, resources: ResourcesConfig, missing: str
) -> None:
    started = time.monotonic()
    with pytest.raises(DoesNotFit, match=missing) as failure:
        run(resources, ppo(tmp_path / "ppo", reward_artifact, 1), tmp_path)
    assert time.monotonic() - started < 10
    assert str(failure.value).count("has 2 CPUs") == 2
    assert str(failure.value).count("has 0 CPUs") == 1


@pytest.mark.slow
def test_a_run_that_lost_a_node_waits_for_another(nodes: Nodes, reward_artifact: Path, tmp_path: Path) -> None:
    resources = two_places("strict_spread")
    call = ppo(tmp_path / "ppo", reward_artifact, 4)

    def kill_and_add() -> None:
        nodes.kill_node()
        time.sleep(5)
        nodes.add()

    helper = after_step(call, 2, kill_and_add)
    run(resources, call, tmp_path)
    helper.join(timeout=60)
    assert [row["step"] for row in results(call)] == [1, 2, 3, 4]


@pytest.mark.slow
def test_a_node_that_does_not_come_back_is_missed_in_words(nodes: Nodes, reward_artifact: Path, tmp_path: Path) -> None:
    resources = two_places("strict_spread", start_timeout=60)
    call = ppo(tmp_path / "ppo", reward_artifact, 50)
    after_step(call, 1, nodes.kill_node)
    with pytest.raises(NoRoom, match="fit on no node") as failure:
        run(resources, call, tmp_path)
    assert "1 of 2 CPUs" in str(failure.value)
