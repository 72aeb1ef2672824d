"""Reward model: exact resume, the same result however a step is cut, every kind, and the unit of its scores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sandwiching.configs.schema import (
    LoraConfig,
    OptimizerConfig,
)
from sandwiching.policy.loading import load_score_model
from sandwiching.policy.packing import Packing
from sandwiching.policy.padding import padded_right
from sandwiching.policy.tokenization import encode, load_tokenizer, pad_token_id
from sandwiching.reward_model.normalise import normalised
from sandwiching.tasks.readers import read_judgements
from sandwiching.training.artifacts import StageFolder
from sandwiching.training.metrics import read_metrics
from sandwiching.training.readout import last_token_scores

REWARD = "sandwiching.training.reward_model:train_reward_model"


def records(folder: StageFolder):
    return [{key: v for key, v in row.items() if not key.startswith("time/")} for row in read_metrics(folder.metrics)]


def weights(folder: StageFolder):
    return load_file(folder.model / "model.safetensors")


def same_bytes(one: StageFolder, other: StageFolder):
    for name in ("model/model.safetensors", "model/config.json", "evaluation.json"):
        assert (one.path / name).read_bytes() == (other.path / name).read_bytes(), name


def check_written(folder: StageFolder, judgements: Path, tolerance=1e-3):
    """Judged texts have mean 0 and deviation 1. Returns how their scores go with the letter x."""
    model = load_score_model(folder.model, torch.float32)
    tokenizer = load_tokenizer(folder.model)
    texts = {}
    for row in read_judgements(judgements / "judgements.jsonl.gz"):
        for response in (row.judgement.response_a, row.judgement.response_b):
            prompt, ids = encode(tokenizer, row.judgement.prompt, response, True, " ")
            texts[tuple(prompt + ids)] = response
    with torch.no_grad():
        packing = Packing.of(*padded_right(list(texts), pad_token_id(tokenizer)))
        unit = normalised(last_token_scores(model, packing), model.config)
    assert abs(unit.mean().item()) < tolerance
    assert unit.std(correction=0).item() == pytest.approx(1, abs=tolerance)
    likes_x = torch.tensor([response.count("x") for response in texts.values()]).float()
    return torch.corrcoef(torch.stack([unit, likes_x]))[0, 1].item()


def test_killed_and_resumed_is_bit_identical_and_learns(run_stages, tiny, judgements, reward_arguments, stage_folder):
    whole, broken = stage_folder("whole"), stage_folder("broken")
    lora = {"model": {"lora": LoraConfig(rank=4, alpha=8)}}
    run_stages([(REWARD, reward_arguments(broken, **lora))], kill_at=6)
    assert [row["step"] for row in records(broken)] == [1, 2, 3, 4, 5, 6]
    probe, noisy = stage_folder("probe"), stage_folder("noisy")
    calls = [(REWARD, reward_arguments(folder, **lora)) for folder in (whole, broken)]
    calls.append((REWARD, reward_arguments(probe, reward={"kind": "probe"})))
    calls.append((REWARD, reward_arguments(noisy, reward={"kind": "probe", "noise": "per_rater_context"})))
    undisturbed, result, probed, _ = run_stages(calls)
    assert undisturbed == result
    assert records(whole) == records(broken)
    same_bytes(whole, broken)
    assert check_written(whole, judgements) > 0.5
    assert result["reward_model/dev_accuracy"] > 0.55
    check_probe(probe, tiny, judgements, probed)
    assert not (probe.path / "rater_errors.json").exists()
    check_rater_errors(noisy)


def rater_errors(folder: StageFolder):
    return json.loads((folder.path / "rater_errors.json").read_text())


def check_rater_errors(folder: StageFolder, population: float = 0.1):
    """Every rater of the training judgements, moved away from the prior."""
    found = rater_errors(folder)
    assert len(found["raters"]) == 6
    assert sum(row["judgements"] for row in found["raters"].values()) > 50
    assert max(abs(row["error"] - population) for row in found["raters"].values()) > 1e-3
    assert 0 < found["population"]["error"] < 0.5
    assert found["tokens_a_unit"] > 0
    assert len(found["groups"]) == 5


def check_probe(folder: StageFolder, tiny: Path, judgements: Path, result):
    """Only the head differs from the parent; evaluation counts the kept-aside judgements by every key."""
    assert check_written(folder, judgements) > 0.5
    start = load_file(tiny / "model.safetensors")
    assert all(torch.equal(value, start[name]) for name, value in weights(folder).items() if name != "score.weight")
    evaluation = json.loads((folder.path / "evaluation.json").read_text())
    total = evaluation["overall"]["judgements"]
    # One pair of equal responses, judged twice, is left out of 240.
    assert total + result["reward_model/judgements"] == 238
    assert total == 48
    for part in ("by_rater", "by_tier", "by_group"):
        assert sum(row["judgements"] for row in evaluation[part].values()) == total
    assert sum(row["judgements"] for row in evaluation["by_margin"]) == total
    assert evaluation["overall"]["accuracy"] == result["reward_model/dev_accuracy"]


@pytest.mark.parametrize(
    ("zero_stage", "cuts", "noise"),
    [
        (1, [(2, 7)], "per_rater_context"),
        *(
            pytest.param(stage, [(1, 3), (2, 7), (2, 32)], noise, marks=pytest.mark.slow)
            for stage in range(4)
            for noise in ("smoothing", "per_rater_context")
        ),
    ],
)
def test_cutting_a_step_differently_changes_nothing(
    run_stages, tiny, judgements, reward_arguments, stage_folder, zero_stage, cuts, noise
):
    """The ranks score different texts; weights, what is learned of raters, gradients' norm and metrics agree."""
    reward = {
        "kind": "full",
        "use_confidence": True,
        "ties": 0.5,
        "margin": 0.2,
        "noise": noise,
        # A large epsilon and no clipping: otherwise Adam hides a gradient of the wrong size.
        "optimizer": OptimizerConfig(learning_rate=1e-3, adam_epsilon=1e-2, max_grad_norm=1e6),
    }
    folders = []
    for count, micro_batch in ((1, 32), *cuts):
        folder = stage_folder(f"ranks_{count}_{micro_batch}")
        resources = {"micro_batch": micro_batch, "zero_stage": zero_stage}
        run_stages([(REWARD, reward_arguments(folder, reward, resources))], count=count)
        folders.append(folder)
    start = load_file(tiny / "model.safetensors")
    one = weights(folders[0])
    learned = noise.startswith("per_rater")
    if learned:
        check_rater_errors(folders[0])
    assert max((one[name] - start[name]).abs().max() for name in one if name in start) > 1e-3
    for other in folders[1:]:
        for name, value in weights(other).items():
            assert torch.allclose(value, one[name], rtol=0, atol=2e-5), name
        if learned:
            for name, row in rater_errors(other)["raters"].items():
                assert row == pytest.approx(rater_errors(folders[0])["raters"][name], abs=1e-5)
        for row, expected in zip(records(other), records(folders[0]), strict=True):
            assert row == pytest.approx(expected, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"reward": {"kind": "full"}},
        {"reward": {"kind": "lora", "noise": "per_rater_context"}},
        {"reward": {"kind": "full", "noise": "per_rater"}, "resources": {"zero_stage": 3}},
        {"reward": {"kind": "full", "noise": "per_rater"}, "resources": {"zero_stage": 0}},
        {"reward": {"kind": "lora", "noise": "per_rater_context"}, "model": {"precision": "bf16"}},
        {"reward": {"kind": "lora"}, "resources": {"zero_stage": 3}, "model": {"precision": "bf16"}},
        {"reward": {"kind": "full"}, "resources": {"zero_stage": 2}, "model": {"precision": "bf16"}},
    ],
)
def test_every_mode_resumes_bit_identically(run_stages, tiny, judgements, reward_arguments, stage_folder, options):
    whole, broken = stage_folder("whole"), stage_folder("broken")
    run_stages([(REWARD, reward_arguments(broken, **options))], kill_at=7)
    run_stages([(REWARD, reward_arguments(folder, **options)) for folder in (whole, broken)])
    assert records(whole) == records(broken)
    same_bytes(whole, broken)
    if "noise" in options["reward"]:
        assert rater_errors(whole) == rater_errors(broken)
    # bf16 models are read in bf16 by our scorer, and in fp32 here.
    assert check_written(whole, judgements, tolerance=0.02 if "model" in options else 1e-3) > 0.4


@pytest.mark.slow
def test_members_of_an_ensemble_differ_by_raters_and_start(
    run_stages, tiny, judgements, reward_arguments, stage_folder
):
    folders = [stage_folder(f"member_{i}") for i in range(2)]
    reward = {"kind": "probe", "members": 2}
    run_stages([(REWARD, reward_arguments(folder, reward, member=i)) for i, folder in enumerate(folders)])
    heads = [weights(folder)["score.weight"] for folder in folders]
    assert torch.corrcoef(torch.cat(heads))[0, 1] < 0.99
