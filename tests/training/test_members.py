"""An ensemble that shares a trunk gives the scores of its members one by one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from sandwiching.configs.schema import ModelConfig
from sandwiching.policy.loading import load_score_model
from sandwiching.policy.lora import LoraSpec, attach, export
from sandwiching.policy.records import Rollouts
from sandwiching.policy.tokenization import load_tokenizer
from sandwiching.reward_model.heads import init_score_head
from sandwiching.reward_model.normalise import write_statistics
from sandwiching.training import members as ensembles
from sandwiching.training.artifacts import BrokenArtifact, StageFolder, write_manifest
from sandwiching.training.members import Adapters, Heads, Separate
from sandwiching.training.roles import ScorerSpec
from sandwiching.training.scorer import TransformersScorer

KINDS = {"lora": Adapters, "probe": Heads}


def write_member(folder: Path, tiny: Path, kind: str, seed: int, base: str = "abc") -> Path:
    """A reward model as training leaves it, with weights at random; returns its model/."""
    tokenizer = load_tokenizer(tiny)
    model = load_score_model(tiny, torch.float32, num_labels=1, pad_token_id=tokenizer.pad_token_id)
    init_score_head(model, seed)
    trained = model if kind == "probe" else attach(model, LoraSpec(4, 8), seed, "SEQ_CLS")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in trained.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.1, generator=generator)
    stage = StageFolder(folder, 0)
    folder.mkdir()
    export(trained, tokenizer, stage.model, None if kind == "probe" else stage.adapter)
    write_statistics(stage.model, 0.3 * seed, 1.5 + seed)
    write_manifest(
        stage,
        {
            "stage": "reward_model",
            "version": 1,
            "key": f"key{seed}",
            "inputs": {"base": base},
            "parents": {"judgements": "j"},
            "metrics": {},
            "seconds": 0.0,
            "environment": {},
        },
    )
    return stage.model


def rollouts() -> Rollouts:
    generator = torch.Generator().manual_seed(3)
    tokens_BS = torch.randint(3, 250, (9, 14), generator=generator)
    tokens_BS[:, :4] = torch.tensor([5, 6, 7, 8])
    mask_BT = torch.arange(6) < torch.randint(1, 7, (9, 1), generator=generator)
    return Rollouts(
        prompt_ids=tuple("abcdefghi"),
        sample_index=(0,) * 9,
        tokens_BS=tokens_BS,
        attention_BS=torch.cat([torch.ones(9, 8, dtype=torch.bool), mask_BT], 1),
        response_mask_BT=mask_BT,
        finished_B=torch.ones(9, dtype=torch.bool),
        behaviour_logprobs_BT=torch.zeros(9, 6),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_shared_trunk_gives_the_scores_of_whole_members(kind: str, tiny: Path, tmp_path: Path) -> None:
    models = tuple(write_member(tmp_path / str(seed), tiny, kind, seed) for seed in range(3))
    config = ModelConfig(path=str(tiny))
    whole = TransformersScorer(ScorerSpec(models, None, config, 1.0), 4)
    shared = TransformersScorer(ScorerSpec(models, None, config, 1.0, kind, tiny), 4)
    assert isinstance(whole.members, Separate)
    assert isinstance(shared.members, KINDS[kind])
    assert len(shared.members.models) == 1
    expected_KB, found_KB = (scorer.score(rollouts()).rewards_KB for scorer in (whole, shared))
    assert found_KB.shape == (3, 9)
    assert expected_KB.std(0).min() > 1e-2
    torch.testing.assert_close(found_KB, expected_KB, atol=1e-5, rtol=1e-5)


def test_one_member_alone_is_its_exported_model(tiny: Path, tmp_path: Path) -> None:
    spec = ScorerSpec((write_member(tmp_path / "0", tiny, "lora", 1),), None, ModelConfig(path=str(tiny)), 1.0, "lora")
    assert isinstance(ensembles.load_members(spec, torch.float32), Separate)


def test_adapters_in_bf16_are_scored_merged(tiny: Path, tmp_path: Path) -> None:
    models = tuple(write_member(tmp_path / str(seed), tiny, "lora", seed) for seed in range(2))
    spec = ScorerSpec(models, None, ModelConfig(path=str(tiny)), 1.0, "lora", tiny)
    assert isinstance(ensembles.load_members(spec, torch.bfloat16), Separate)


def test_members_of_different_parents_are_refused(tiny: Path, tmp_path: Path) -> None:
    models = tuple(write_member(tmp_path / base, tiny, "probe", 1, base) for base in ("one", "other"))
    with pytest.raises(BrokenArtifact, match="members of one ensemble share their parent"):
        ensembles.load_members(ScorerSpec(models, None, ModelConfig(path=str(tiny)), 1.0, "probe", tiny), torch.float32)


def test_adapters_on_another_trunk_are_refused(tiny: Path, tmp_path: Path) -> None:
    models = tuple(write_member(tmp_path / str(seed), tiny, "lora", seed) for seed in range(2))
    for model in models:
        file = model.parent / "manifest.json"
        manifest = json.loads(file.read_text())
        file.write_text(json.dumps(manifest | {"parents": {"sft": "0123"}}))
    with pytest.raises(BrokenArtifact, match="is an adapter of sft 0123"):
        ensembles.load_members(ScorerSpec(models, None, ModelConfig(path=str(tiny)), 1.0, "lora", tiny), torch.float32)
