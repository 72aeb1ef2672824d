"""Gold along training from adapter snapshots is gold of the merged models."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from sandwiching.configs.schema import CheckConfig, LoraConfig, ModelConfig, ResourcesConfig, SamplingConfig
from sandwiching.oversight.answers import Examiner
from sandwiching.oversight.gold_curves import gold_along, gold_point, seen, snapshot_weights, snapshots
from sandwiching.oversight.items import Item
from sandwiching.policy.base_models import resolve
from sandwiching.policy.lora import LoraSpec, adapter_weights, attach
from sandwiching.policy.tokenization import load_tokenizer
from sandwiching.tasks.records import Prompt
from sandwiching.training.engines import build_engine
from sandwiching.training.roles import EngineSpec

LORA = LoraConfig(rank=4, alpha=8)
MODEL = ModelConfig(path="tiny", lora=LORA)
ITEMS = [Item(Prompt(f"p{i}", "Say something: " + "x" * i, "g", "k"), ("yes", "no", "so"), "all") for i in range(6)]


class Vowels:
    """Right is what holds an a."""

    def correct(self, prompt, response):
        return "a" in response.lower()

    def candidates(self, prompt):
        return ("yes", "no")


def examiner(spec):
    check = CheckConfig(samples=2, sampling=SamplingConfig(max_new_tokens=6))
    return Examiner(build_engine(spec, ResourcesConfig()), load_tokenizer(resolve("tiny")), Vowels(), MODEL, check)


def approved(items, responses):
    """Whether a response holds an e."""
    return [[float("e" in response) for response in row] for row in responses]


def test_adapter_snapshots_are_examined_in_order(tmp_path):
    start, expected = resolve("tiny"), []
    for step in (10, 2):
        model = attach(
            AutoModelForCausalLM.from_pretrained(start),
            LoraSpec(LORA.rank, LORA.alpha, LORA.target_modules),
            0,
            "CAUSAL_LM",
        )
        torch.manual_seed(step)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = 0.3 * torch.randn_like(parameter)
        folder = tmp_path / "snapshots" / f"step_{step}"
        folder.mkdir(parents=True)
        save_file({k: v.contiguous() for k, v in adapter_weights(model).items()}, folder / "weights.safetensors")
        merged = tmp_path / f"merged{step}"
        model.merge_and_unload().save_pretrained(merged)
        load_tokenizer(start).save_pretrained(merged)
        answers = examiner(EngineSpec(merged, MODEL, adapters=False)).examine(ITEMS, 2, 0, start)
        expected.insert(0, seen(step, answers, approved(ITEMS, answers.responses)))
    assert [path.name for path in snapshots(tmp_path)] == ["step_2", "step_10"]
    found = gold_along(examiner(EngineSpec(start, MODEL, adapters=True)), start, tmp_path, ITEMS, 0, approved)
    for point, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(point.kl, wanted.kl, atol=1e-4)
        assert np.min(point.kl) > 0.01
        assert replace(point, kl=wanted.kl) == wanted
    assert gold_point(found[0]) != gold_point(found[1])
    assert gold_point(found[0]).free == np.mean(found[0].correct)


def test_a_snapshot_without_weights_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="holds no safetensors"):
        snapshot_weights(tmp_path)
