"""What SFT and reward model share: sealed checkpoints, and no state left behind for the next stage."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from sandwiching.configs.schema import LoraConfig, OptimizerConfig, ResourcesConfig
from sandwiching.training.artifacts import StageFolder
from sandwiching.training.hf import trainer_arguments
from sandwiching.training.metrics import read_metrics

SFT = "sandwiching.training.sft:train_sft"
REWARD = "sandwiching.training.reward_model:train_reward_model"


def same_files(one: StageFolder, other: StageFolder, *names: str) -> None:
    for name in names:
        assert (one.path / name).read_bytes() == (other.path / name).read_bytes(), name


@pytest.mark.slow
def test_stages_in_one_process_do_not_see_each_other(
    run_stages, sft_arguments, reward_arguments, ppo_arguments_on, stage_folder
):
    """SFT under ZeRO-3, a reward model on it under ZeRO-1, PPO, then SFT under ZeRO-3 again; and each by itself."""
    sft, again, reward, alone = (stage_folder(name) for name in ("sft", "again", "reward", "alone"))
    ppo, ppo_alone = stage_folder("ppo"), stage_folder("ppo_alone")
    zero_3 = {"zero_stage": 3}
    parents = {"sft": sft.path}
    run_stages(
        [
            (SFT, sft_arguments(sft, resources=zero_3)),
            (REWARD, reward_arguments(reward, parents=parents)),
            ("__main__:ppo", ppo_arguments_on(sft, reward, ppo)),
            (SFT, sft_arguments(again, resources=zero_3)),
        ]
    )
    run_stages([(REWARD, reward_arguments(alone, parents=parents))])
    run_stages([("__main__:ppo", ppo_arguments_on(sft, reward, ppo_alone))])
    same_files(sft, again, "model/model.safetensors")
    same_files(reward, alone, "model/model.safetensors", "evaluation.json")
    same_files(ppo, ppo_alone, "model/model.safetensors")


@pytest.mark.slow
def test_a_damaged_checkpoint_is_passed_over(run_stages, sft_arguments, stage_folder):
    whole, damaged = stage_folder("whole"), stage_folder("damaged")
    run_stages([(SFT, sft_arguments(damaged, resources={"async_save": False}))], kill_at=8)
    (file,) = (damaged.checkpoints / "step_6").glob("global_step6/*optim_states.pt")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    run_stages([(SFT, sft_arguments(folder)) for folder in (whole, damaged)])
    same_files(whole, damaged, "model/model.safetensors")
    assert [row["step"] for row in read_metrics(damaged.metrics)] == list(range(1, 10))


LAYOUTS = [((1, 3), (1, 1)), ((2, 3), (1, 1)), ((1, 1), (2, 3)), ((2, 1), (1, 0)), ((1, 0), (2, 2)), ((2, 2), (1, 1))]
"""Learner ranks and ZeRO stage before and after."""


@pytest.mark.parametrize(
    ("before", "after"), [LAYOUTS[0], *(pytest.param(*one, marks=pytest.mark.slow) for one in LAYOUTS[1:])]
)
def test_a_checkpoint_goes_on_under_another_layout(run_stages, sft_arguments, stage_folder, before, after):
    """As the undisturbed training, to rounding: the moments of Adam, too, have to arrive whole."""
    whole, moved = stage_folder("whole"), stage_folder("moved")
    # A rate at which wrong moments or a wrong count of steps would show.
    sft = {"optimizer": OptimizerConfig(learning_rate=1e-2)}
    rank_rows = {1: 8, 2: 4}

    def arguments(folder: StageFolder, ranks: int, zero_stage: int):
        where = {"learner_ranks": ranks, "zero_stage": zero_stage, "micro_batch": rank_rows[ranks], "async_save": False}
        return sft_arguments(folder, sft=sft, resources=where)

    run_stages([(SFT, arguments(whole, 1, 1))])
    run_stages([(SFT, arguments(moved, *before))], before[0], kill_at=5)
    run_stages([(SFT, arguments(moved, *after))], after[0])
    for row, twin in zip(read_metrics(whole.metrics), read_metrics(moved.metrics), strict=True):
        assert row["sft/loss"] == pytest.approx(twin["sft/loss"], abs=1e-4)
    one, other = (load_file(folder.model / "model.safetensors") for folder in (whole, moved))
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [((2, 1), (1, 3)), ((1, 3), (1, 1)), ((1, 1), (2, 2))])
def test_adapters_in_bf16_go_on_under_another_layout(run_stages, sft_arguments, stage_folder, before, after):
    whole, moved = stage_folder("whole"), stage_folder("moved")
    # At 1e-2 the undisturbed runs of ZeRO-1 and ZeRO-3 are .04 apart in one step: bf16 gradients round otherwise.
    decay = {"optimizer": OptimizerConfig(learning_rate=3e-3, weight_decay=0.1)}

    def arguments(folder: StageFolder, ranks: int, zero_stage: int):
        where = {"learner_ranks": ranks, "zero_stage": zero_stage, "micro_batch": 8 // ranks, "async_save": False}
        model = {"lora": LoraConfig(rank=4), "precision": "bf16"}
        return sft_arguments(folder, model=model, sft=decay, resources=where)

    run_stages([(SFT, arguments(whole, 1, 1))])
    run_stages([(SFT, arguments(moved, *before))], before[0], kill_at=5)
    run_stages([(SFT, arguments(moved, *after))], after[0])
    rows = list(zip(read_metrics(whole.metrics), read_metrics(moved.metrics), strict=True))
    assert rows[0][0]["sft/loss"] - rows[-1][0]["sft/loss"] > 0.1
    for row, twin in rows:
        assert row["sft/loss"] == pytest.approx(twin["sft/loss"], abs=2e-3)


def test_bf16_without_zero_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"resources\.zero_stage=0 .* model\.precision=bf16"):
        trainer_arguments(
            optimizer=OptimizerConfig(),
            resources=ResourcesConfig(zero_stage=0),
            precision="bf16",
            rows_per_batch=1,
            accumulation=1,
            seed=0,
            folder=StageFolder(tmp_path, 0),
            persistence_threshold=0,
        )


def test_trainers_run_once_through_rows_in_order_and_tell_nobody(tmp_path):
    arguments = trainer_arguments(
        optimizer=OptimizerConfig(adam_epsilon=1e-5),
        resources=ResourcesConfig(zero_stage=2, checkpoint_every=7),
        precision="fp32",
        rows_per_batch=4,
        accumulation=2,
        seed=0,
        folder=StageFolder(tmp_path, 0),
        persistence_threshold=0,
    )
    assert arguments["num_train_epochs"] == 1
    assert arguments["train_sampling_strategy"] == "sequential"
    assert arguments["report_to"] == "none"
    assert arguments["adam_epsilon"] == 1e-5
    assert arguments["save_steps"] == 7
    assert arguments["use_cpu"] is not torch.cuda.is_available()
    assert arguments["deepspeed"]["zero_optimization"]["stage"] == 2
    assert arguments["deepspeed"]["gradient_accumulation_steps"] == 2
