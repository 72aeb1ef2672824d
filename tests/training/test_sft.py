"""SFT: exact resume, the same result however a step is cut, and which weights change."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from sandwiching.configs.schema import (
    LoraConfig,
    ModelConfig,
    OptimizerConfig,
)
from sandwiching.policy.tokenization import load_tokenizer
from sandwiching.tasks.records import Demonstration, Prompt
from sandwiching.training.artifacts import StageFolder
from sandwiching.training.metrics import read_metrics
from sandwiching.training.sft import chosen, collate, demonstration_rows, ordered_dataset

SFT = "sandwiching.training.sft:train_sft"


def records(folder: StageFolder):
    return [{key: v for key, v in row.items() if not key.startswith("time/")} for row in read_metrics(folder.metrics)]


def weights(folder: StageFolder, part: str = "model"):
    merged = {}
    for file in sorted((folder.path / part).glob("*.safetensors")):
        merged |= load_file(file)
    return merged


def assert_same(one, other, tolerance=0.0):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.allclose(one[name], other[name], rtol=0, atol=tolerance), name


def optimizer_state(folder: StageFolder, step: int):
    (file,) = (folder.checkpoints / f"step_{step}").glob("global_step*/*optim_states.pt")
    state = torch.load(file, weights_only=False)["optimizer_state_dict"]
    names = {1: ("base_optimizer_state", "single_partition_of_fp32_groups"), 3: ("optimizer_state_dict",)}
    stage = 3 if "optimizer_state_dict" in state else 1
    return [state[name] for name in names[stage]]


def assert_equal_trees(one, other):
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal_trees(one[key], other[key])
    elif isinstance(one, list | tuple):
        for x, y in zip(one, other, strict=True):
            assert_equal_trees(x, y)
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


def check_resume(run_stages, sft_arguments, stage_folder, options):
    whole, broken = stage_folder("whole"), stage_folder("broken")
    run_stages([(SFT, sft_arguments(broken, **options))], kill_at=5)
    assert [row["step"] for row in records(broken)] == [1, 2, 3, 4, 5]
    assert not broken.model.exists()
    first, second = run_stages([(SFT, sft_arguments(one, **options)) for one in (whole, broken)])
    assert first == second
    assert records(whole) == records(broken)
    assert len(records(whole)) == 9
    assert_same(weights(whole), weights(broken))
    assert_equal_trees(optimizer_state(whole, 9), optimizer_state(broken, 9))
    return whole


def test_killed_and_resumed_is_bit_identical_and_learns(run_stages, tiny, sft_arguments, stage_folder):
    whole = check_resume(run_stages, sft_arguments, stage_folder, {"model": {"lora": LoraConfig(rank=4, alpha=8)}})
    losses = [row["sft/loss"] for row in records(whole)]
    assert losses[-1] < losses[0] - 0.2
    assert sorted(path.name for path in whole.checkpoints.iterdir()) == ["step_6", "step_9"]
    changed = {k for k, v in weights(whole).items() if not torch.equal(v, load_file(tiny / "model.safetensors")[k])}
    assert changed
    assert all("proj" in name for name in changed)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"resources": {"zero_stage": 2}},
        {"resources": {"zero_stage": 3}},
        {"model": {"precision": "bf16"}},
        {"model": {"precision": "bf16", "lora": LoraConfig(rank=4)}, "resources": {"zero_stage": 3}},
    ],
)
def test_every_mode_resumes_bit_identically(run_stages, sft_arguments, stage_folder, options):
    check_resume(run_stages, sft_arguments, stage_folder, options)


@pytest.mark.slow
@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
def test_cutting_a_step_differently_changes_nothing(run_stages, tiny, sft_arguments, stage_folder, zero_stage):
    """Ranks have different rows; 40 rows in steps of 16 leave a half-empty step, and lengths differ."""
    # A large epsilon and no clipping: otherwise Adam hides a gradient of the wrong size.
    sgd_like = OptimizerConfig(learning_rate=1e-3, adam_epsilon=1e-2, max_grad_norm=1e6)
    folders = []
    for name, count, micro_batch in (("whole", 1, 16), ("accumulated", 1, 4), ("ranks", 2, 4)):
        folder = stage_folder(name)
        rest = sft_arguments(
            folder,
            sft={"optimizer": sgd_like},
            resources={"micro_batch": micro_batch, "zero_stage": zero_stage},
        )
        run_stages([(SFT, rest)], count=count)
        folders.append(folder)
    start = load_file(tiny / "model.safetensors")
    moved = max((weights(folders[0])[name] - start[name]).abs().max() for name in start)
    assert moved > 1e-3
    for other in folders[1:]:
        assert_same(weights(folders[0]), weights(other), tolerance=2e-5)
        for one, row in zip(records(folders[0]), records(other), strict=True):
            assert row == pytest.approx(one, rel=1e-4)


def test_rows_have_loss_on_the_response_and_its_end_only(tiny):
    tokenizer = load_tokenizer(tiny)
    shown = Demonstration(Prompt("p", "Question: x?\nAnswer:", "g", "k"), "Chad")
    ((ids, labels),) = demonstration_rows(tokenizer, [shown], ModelConfig(path=str(tiny)), "error")
    learned = [token for token in labels if token != -100]
    assert tokenizer.decode(learned) == " Chad<eos>"
    assert ids[-len(learned) :] == learned
    assert tokenizer.decode(ids[: -len(learned)]) == "Question: x?\nAnswer:"


def test_long_rows_are_listed_or_dropped(tiny, caplog):
    tokenizer = load_tokenizer(tiny)
    rows = [Demonstration(Prompt(f"p{i}", "x" * 10 * i, "g", "k"), "y") for i in range(1, 5)]
    model = ModelConfig(path=str(tiny), max_length=25)
    with pytest.raises(ValueError, match=r"2 of 4 demonstrations .* model\.max_length=25: p3 \(33 tokens\), p4"):
        demonstration_rows(tokenizer, rows, model, "error")
    assert len(demonstration_rows(tokenizer, rows, model, "drop")) == 2
    assert "p3" in caplog.text


def test_epochs_hold_every_row_once_in_a_new_order():
    rows = [([i], [i]) for i in range(1, 11)]
    dataset = ordered_dataset(rows, 4, 2, seed=0)
    ids = [row[0] for row in dataset["input_ids"]]
    assert sorted(ids[:12]) == sorted(ids[12:]) == [0, 0, *range(1, 11)]
    assert ids[:10] != ids[12:22]
    assert all(set(labels) == {-100} for labels in dataset[10:12]["labels"])


def test_collate_masks_padding():
    batch = collate([{"input_ids": [7, 8], "labels": [-100, 8]}, {"input_ids": [9], "labels": [9]}], pad=3)
    assert batch["input_ids"].tolist() == [[7, 8], [9, 3]]
    assert batch["attention_mask"].tolist() == [[True, True], [True, False]]
    assert batch["labels"].tolist() == [[-100, 8], [9, -100]]


def test_a_limit_on_demonstrations_is_chosen_by_seed():
    rows = [Demonstration(Prompt(f"p{i}", "x", "g", "k"), "y") for i in range(20)]
    picked = chosen(rows, 5, seed=0)
    assert picked == chosen(rows, 5, seed=0)
    assert picked == [row for row in rows if row in picked]
    assert picked != chosen(rows, 5, seed=1)
    assert chosen(rows, None, 0) == rows
