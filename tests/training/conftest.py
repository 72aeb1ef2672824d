"""Stages run for real on the tiny model, in processes of their own (tests/ranks.py)."""

from __future__ import annotations

import importlib.util
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sandwiching.configs.schema import (
    CapitalsTask,
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    PPOConfig,
    ResourcesConfig,
    RewardModelConfig,
    SamplingConfig,
    SftConfig,
)
from sandwiching.policy.base_models import resolve
from sandwiching.tasks.readers import write_judgements
from sandwiching.tasks.records import Judgement
from sandwiching.training.artifacts import StageFolder

Arguments = dict[str, Any]
RANKS = Path(__file__).parent.parent / "ranks.py"


@pytest.fixture(scope="session")
def ranks() -> ModuleType:
    """tests/ranks.py, which importlib mode keeps off the path."""
    spec = importlib.util.spec_from_file_location("sandwiching_test_ranks", RANKS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def run_stages(ranks: ModuleType) -> Callable[..., list[Any]]:
    """run_stages([(function, arguments), ...], ranks=1, kill_at=None): results on rank 0; kill_at is for the last."""

    def run(calls: Sequence[tuple[str, dict[str, Any]]], count: int = 1, kill_at: int | None = None) -> list[Any]:
        last = len(calls) - 1
        planned = [ranks.Call(name, rest, kill_at if i == last else None) for i, (name, rest) in enumerate(calls)]
        return ranks.run(planned, count)

    return run


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the built-in tiny model."""
    return resolve("tiny", None, tmp_path_factory.mktemp("models"))


@pytest.fixture
def stage_folder(tmp_path: Path) -> Callable[[str], StageFolder]:
    """An empty folder for a stage, by name."""

    def make(name: str) -> StageFolder:
        folder = StageFolder(tmp_path / name, 0)
        folder.path.mkdir(exist_ok=True)
        return folder

    return make


@pytest.fixture(scope="session")
def judgements(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A judgements artifact: 40 prompts, 3 responses each, 6 raters who mostly like the letter x; some ties."""
    draw = random.Random(0)
    rows = []
    for i in range(40):
        prompt = "Question: " + "".join(draw.choices("abcdef ", k=draw.randint(3, 12)))
        responses = ["".join(draw.choices("xyz", k=draw.randint(2, 9))) for _ in range(3)]
        for a, b in ((0, 1), (1, 2), (2, 0)):
            for rater in draw.sample(range(6), 2):
                difference = responses[a].count("x") - responses[b].count("x")
                lean = difference if draw.random() < 0.9 else -difference
                rows.append(
                    Judgement(
                        prompt=prompt,
                        response_a=responses[a],
                        response_b=responses[b],
                        preference="tie" if lean == 0 else "a" if lean > 0 else "b",
                        rater=f"rater {rater}",
                        tier="weak",
                        confidence=draw.choice([None, 0.5, 1.0]),
                        group=f"group {i % 5}",
                        pair=f"{i}/{a}-{b}",
                    )
                )
    folder = tmp_path_factory.mktemp("judgements")
    write_judgements(folder / "judgements.jsonl.gz", rows)
    return folder


@pytest.fixture
def sft_arguments(tiny: Path) -> Callable[..., Arguments]:
    """Arguments of train_sft for a folder: 40 demonstrations, 9 steps; each block's settings can be replaced."""

    def make(folder: StageFolder, model=None, sft=None, resources=None) -> Arguments:
        steps: dict[str, Any] = {"batch_size": 16, "epochs": 3, "optimizer": OptimizerConfig(learning_rate=1e-2)}
        where: dict[str, Any] = {"micro_batch": 8, "checkpoint_every": 3}
        return {
            "model": ModelConfig(path=str(tiny), **(model or {})),
            "task": CapitalsTask(name="capitals", max_prompts=40),
            "data": DataConfig(),
            "sft": SftConfig(**(steps | (sft or {}))),
            "seed": 0,
            "resources": ResourcesConfig(**(where | (resources or {}))),
            "parents": {},
            "folder": folder,
        }

    return make


@pytest.fixture
def reward_arguments(tiny: Path, judgements: Path) -> Callable[..., Arguments]:
    """Arguments of train_reward_model for a folder: about 10 steps; each block's settings can be replaced."""

    def make(folder: StageFolder, reward=None, resources=None, model=None, member=0, parents=None) -> Arguments:
        rate = OptimizerConfig(learning_rate=1e-2)
        steps: dict[str, Any] = {"epochs": 3, "batch_texts": 32, "optimizer": rate, "dev_share": 0.2}
        where: dict[str, Any] = {"micro_batch": 8, "checkpoint_every": 4}
        return {
            "model": ModelConfig(path=str(tiny), **(model or {})),
            "reward_model": RewardModelConfig(**(steps | (reward or {}))),
            "data": DataConfig(),
            "seed": 0,
            "member": member,
            "resources": ResourcesConfig(**(where | (resources or {}))),
            "parents": {"judgements": judgements, **(parents or {})},
            "folder": folder,
        }

    return make


@pytest.fixture
def ppo_arguments_on(sft_arguments: Callable[..., Arguments]) -> Callable[..., Arguments]:
    """Arguments of train_ppo (but the roles) for 2 steps from the folders of an SFT and a reward model."""

    def make(sft: StageFolder, reward: StageFolder, folder: StageFolder) -> Arguments:
        shared = {name: value for name, value in sft_arguments(folder).items() if name != "sft"}
        rate = OptimizerConfig(learning_rate=1e-2, scheduler="constant")
        short = SamplingConfig(max_new_tokens=4)
        return {
            **shared,
            "ppo": PPOConfig(steps=2, batch_size=8, epochs=1, optimizer=rate, sampling=short, snapshot_every=2),
            "reward_model": RewardModelConfig(),
            "parents": {"sft": sft.path, "reward_model/0": reward.path},
        }

    return make
