"""The PPO stage on the tiny model: on-policy first step, learning, exact resume and invariances."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from sandwiching.configs.schema import (
    CapitalsTask,
    DataConfig,
    KLConfig,
    LoraConfig,
    ModelConfig,
    OptimizerConfig,
    PPOConfig,
    ResourcesConfig,
    RewardModelConfig,
    SamplingConfig,
)
from sandwiching.launch.local import LocalRoles
from sandwiching.training.artifacts import StageFolder
from sandwiching.training.metrics import read_metrics

PPO = "sandwiching.training.ppo:train_ppo"
LORA: dict[str, Any] = {"lora": LoraConfig(rank=4, alpha=8)}


@pytest.fixture(scope="session")
def reward_artifact(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward model with a random head."""
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(tiny, num_labels=1)
    torch.nn.init.normal_(model.score.weight)
    model.config.update({"reward_mean": 0.0, "reward_std": 1.0, "pad_token_id": 0})
    folder = tmp_path_factory.mktemp("reward")
    model.save_pretrained(folder / "model")
    return folder


@pytest.fixture
def ppo_arguments(tiny: Path, reward_artifact: Path) -> Callable[..., dict[str, Any]]:
    """Arguments of train_ppo for a folder; each block's settings can be replaced."""

    def make(folder: StageFolder, ppo=None, model=None, resources=None) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "steps": 3,
            "batch_size": 8,
            "epochs": 2,
            "optimizer": OptimizerConfig(learning_rate=1e-3, scheduler="constant"),
            "sampling": SamplingConfig(max_new_tokens=8),
            "missing_eos": "ignore",
        }
        places: dict[str, Any] = {"micro_batch": 4, "checkpoint_every": 1, "keep": 3}
        where = ResourcesConfig(**(places | (resources or {})))
        return {
            "model": ModelConfig(path=str(tiny), **(LORA if model is None else model)),
            "task": CapitalsTask(name="capitals", max_prompts=16),
            "data": DataConfig(),
            "reward_model": RewardModelConfig(),
            "ppo": PPOConfig(**(settings | (ppo or {}))),
            "seed": 0,
            "resources": where,
            "parents": {"reward_model/0": reward_artifact},
            "folder": folder,
            "roles": LocalRoles(where),
        }

    return make


def records(folder: StageFolder) -> list[dict[str, Any]]:
    rows = read_metrics(folder.metrics)
    return [{key: value for key, value in row.items() if not key.startswith("time/")} for row in rows]


def weights(folder: StageFolder) -> dict[str, torch.Tensor]:
    return load_file(folder.model / "model.safetensors")


def test_first_update_is_on_policy_and_kl_starts_at_zero(run_stages, ppo_arguments, stage_folder) -> None:
    folder = stage_folder("ppo")
    run_stages([(PPO, ppo_arguments(folder, ppo={"epochs": 1, "steps": 2}))])
    first, second = records(folder)
    assert (first["ppo/ratio"], first["ppo/ratio_squared"]) == pytest.approx((1, 1), abs=1e-6)
    assert first["ppo/approx_kl"] == 0
    assert first["ppo/clip_fraction"] == 0
    assert first["ppo/kl"] == 0
    assert second["ppo/kl"] != 0
    assert first["ppo/kl_exact"] == 0
    assert second["ppo/kl_exact"] > 0
    assert first["ppo/engine_mismatch"] < 1e-5
    assert second["ppo/engine_mismatch"] < 1e-5


def test_kl_starts_at_nothing_but_rounding_where_the_scorer_has_the_reference(
    run_stages, ppo_arguments, stage_folder
) -> None:
    folder = stage_folder("ppo")
    full = {"lora": None, "precision": "bf16"}
    run_stages([(PPO, ppo_arguments(folder, ppo={"epochs": 1, "steps": 2}, model=full, resources={"zero_stage": 1}))])
    first, _ = records(folder)
    assert abs(first["ppo/kl"]) < 0.05
    assert first["ppo/approx_kl"] == 0
    assert "ppo/kl_exact" not in first


def test_recomputed_activations_give_the_same_update(run_stages, ppo_arguments, stage_folder) -> None:
    kept, recomputed = stage_folder("kept"), stage_folder("recomputed")
    places = ((kept, False), (recomputed, True))
    calls = [(PPO, ppo_arguments(f, resources={"gradient_checkpointing": again})) for f, again in places]
    run_stages(calls)
    one, other = weights(kept), weights(recomputed)
    assert all(torch.allclose(one[name], other[name], rtol=0, atol=1e-5) for name in one)


def test_a_truncated_checkpoint_is_refused_and_the_one_before_gives_the_same_bits(
    run_stages, ppo_arguments, stage_folder
) -> None:
    whole, broken = stage_folder("whole"), stage_folder("broken")
    options = {"ppo": {"kl": KLConfig(controller="adaptive", target=0.01, horizon=8), "ema_decay": 0.5}}
    run_stages([(PPO, ppo_arguments(whole, **options))])
    shutil.copytree(whole.path, broken.path, dirs_exist_ok=True)
    shutil.rmtree(broken.model)
    (state,) = (broken.checkpoints / "step_3" / "policy" / "engine").glob("*optim_states.pt")
    state.write_bytes(state.read_bytes()[:100])
    run_stages([(PPO, ppo_arguments(broken, **options))])
    assert records(whole) == records(broken)
    assert len({row["ppo/kl_coefficient"] for row in records(whole)}) == 3
    one, other = weights(whole), weights(broken)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_micro_batches_do_not_change_the_update(run_stages, ppo_arguments, stage_folder) -> None:
    small, large = stage_folder("small"), stage_folder("large")
    run_stages(
        [(PPO, ppo_arguments(folder, resources={"micro_batch": size})) for folder, size in ((small, 1), (large, 8))]
    )
    one, other = weights(small), weights(large)
    assert all(torch.allclose(one[name], other[name], rtol=0, atol=1e-5) for name in one)


@pytest.mark.parametrize(
    "options",
    [
        {"advantage": "gae", "value": "model", "value_warmup_steps": 2},
        {"advantage": "gae", "value": "head"},
        {"advantage": "leave_one_out", "samples_per_prompt": 4},
        {"advantage": "group", "samples_per_prompt": 4, "minibatches": 2},
    ],
    ids=lambda options: "-".join(str(value) for value in options.values()),
)
def test_every_estimator_raises_the_reward(options, run_stages, ppo_arguments, stage_folder) -> None:
    folder = stage_folder("ppo")
    learning = {
        "steps": 14,
        "batch_size": 32,
        "epochs": 4,
        "kl": KLConfig(coefficient=0.0),
        "optimizer": OptimizerConfig(learning_rate=5e-3, scheduler="constant"),
    }
    arguments = ppo_arguments(folder, ppo=learning | options, resources={"micro_batch": 32, "checkpoint_every": 50})
    run_stages([(PPO, arguments)])
    scores = [row["ppo/score"] for row in records(folder)]
    assert sum(scores[-3:]) / 3 > sum(scores[:3]) / 3 + 0.1


def test_one_step_off_a_resume_is_exact_and_takes_every_prompt_once(run_stages, ppo_arguments, stage_folder) -> None:
    """And from the second step on, the weights that sampled are one update old."""
    settings = {"staleness": 1, "steps": 4, "batch_size": 4}
    folder = stage_folder("ahead")
    run_stages([(PPO, ppo_arguments(folder, settings))])
    whole = records(folder)
    assert [row["ppo/staleness"] for row in whole] == [0, 1, 1, 1]
    assert whole[0]["ppo/importance"] == 1
    assert all(0.5 < row["ppo/importance"] < 2 and row["ppo/importance"] != 1 for row in whole[1:])
    prompts = [prompt for row in whole for prompt in row["prompts"]]
    assert len(prompts) == len(set(prompts)) == 16

    shutil.rmtree(folder.checkpoints / "step_4")
    shutil.rmtree(folder.checkpoints / "step_3")
    run_stages([(PPO, ppo_arguments(folder, settings))])
    assert records(folder) == whole


def stopped_and_undisturbed(
    run_stages, ppo_arguments, stage_folder, settings: dict[str, Any], stops: list[tuple[str, str, int]]
) -> list[tuple[bool, int]]:
    """What was seen of each stopped run, each of which went on to the undisturbed run's bits."""
    whole, folders = stage_folder("whole"), [stage_folder(f"stopped{place}") for place, _ in enumerate(stops)]
    options = {"ppo": {"steps": 4, "minibatches": 2, **settings}, "resources": {"checkpoint_every": 2, "keep": 4}}
    calls = [(PPO, ppo_arguments(whole, **options))]
    for folder, stop in zip(folders, stops, strict=True):
        own = ppo_arguments(folder, **options)
        calls.append(("__main__:stopped_ppo", {**{k: v for k, v in own.items() if k != "roles"}, "stop": stop}))
        calls.append((PPO, own))
    found = run_stages(calls)
    for folder in folders:
        assert records(folder) == records(whole)
        one, other = weights(whole), weights(folder)
        assert all(torch.equal(one[name], other[name]) for name in one)
    return found[1::2]


def test_stopped_inside_a_step_it_goes_on_to_the_same_bits(run_stages, ppo_arguments, stage_folder) -> None:
    """A call that changes nothing is given up. So is an update, between its optimiser steps, behind a checkpoint."""
    stops = [
        ("engine", "generate", 1),
        ("engine", "generate", 2),
        ("scorer", "score", 2),
        ("learner", "evaluate", 4),
        ("learner", "_optimise", 10),
        ("learner", "_optimise", 6),
    ]
    found = stopped_and_undisturbed(run_stages, ppo_arguments, stage_folder, {}, stops)
    # Of 4 optimiser steps each: the tenth is in the third update, behind a checkpoint; the sixth is not.
    assert found == [(False, 0), (False, 1), (False, 1), (False, 3), (True, 2), (True, 2)]


@pytest.mark.slow
def test_stopped_one_step_off_it_goes_on_to_the_same_bits(run_stages, ppo_arguments, stage_folder) -> None:
    """What was sampled with weights that are gone is kept, with its scores."""
    stops = [
        ("engine", "generate", 1),
        ("engine", "generate", 3),
        ("scorer", "score", 3),
        ("learner", "evaluate", 3),
        ("learner", "_optimise", 10),
        ("learner", "_optimise", 6),
    ]
    settings = {"staleness": 1, "batch_size": 4}
    found = stopped_and_undisturbed(run_stages, ppo_arguments, stage_folder, settings, stops)
    assert found == [(True, 0), (True, 1), (True, 2), (False, 2), (True, 2), (True, 2)]
