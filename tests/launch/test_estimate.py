"""Parameter counts against Hugging Face's own models; memory and disk against arithmetic done by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from sandwiching.configs.load import load
from sandwiching.configs.schema import BestConfig, Config, LoraConfig, ModelConfig
from sandwiching.launch.architecture import Architecture, find_architecture, from_hugging_face, known_models
from sandwiching.launch.estimate import (
    RoleMemory,
    StageDisk,
    checkpoint_bytes,
    engine_memory,
    learner_memory,
    per_device,
    stage_disk,
    stage_memory,
    vllm_memory,
)
from sandwiching.launch.graph import build_graph

TABLE = json.loads((files("sandwiching.configs") / "known_models.json").read_text())
PUBLISHED = {
    "HuggingFaceTB/SmolLM2-135M": 134_515_008,
    "EleutherAI/pythia-70m": 70_426_624,
    "EleutherAI/pythia-1b": 1_011_781_632,
    "EleutherAI/pythia-6.9b": 6_857_302_016,
    "meta-llama/Llama-3.2-1B": 1_235_814_400,
    "meta-llama/Llama-3.1-8B": 8_030_261_248,
    "Qwen/Qwen2.5-0.5B": 494_032_768,
    "Qwen/Qwen2.5-7B": 7_615_616_512,
    "Qwen/Qwen3-0.6B": 596_049_920,
    "Qwen/Qwen3-8B": 8_190_735_360,
}


def known(name: str) -> Architecture:
    found = find_architecture(ModelConfig(path=name))
    assert found is not None
    return found


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_counts_are_the_published_ones(name: str) -> None:
    assert known(name).parameters == PUBLISHED[name]


@pytest.mark.parametrize("name", sorted(TABLE))
def test_counts_are_those_of_transformers(name: str) -> None:
    torch = pytest.importorskip("torch")
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    settings = dict(TABLE[name])
    config = AutoConfig.for_model(settings.pop("model_type"), **settings, num_labels=1, pad_token_id=0)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
        reward = AutoModelForSequenceClassification.from_config(config)
    counted = known(name)
    assert counted.parameters == sum(parameter.numel() for parameter in model.parameters())
    heads = counted.hidden_size * 1
    assert counted.trunk_parameters + heads == sum(parameter.numel() for parameter in reward.parameters())


@pytest.mark.parametrize("name", ["tiny", "EleutherAI/pythia-70m", "Qwen/Qwen3-0.6B"])
def test_adapter_counts_are_those_of_peft(name: str) -> None:
    torch = pytest.importorskip("torch")
    from peft import LoraConfig as PeftLora
    from peft import get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = dict(TABLE[name])
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    with torch.device("meta"):
        model = get_peft_model(AutoModelForCausalLM.from_config(config), PeftLora(r=8, target_modules="all-linear"))
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert known(name).lora_parameters(8) == trained


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("smollm2-135m", "HuggingFaceTB/SmolLM2-135M"),
        ("HuggingFaceTB/SmolLM2-360M-Instruct", "HuggingFaceTB/SmolLM2-360M"),
        ("EleutherAI/pythia-1b-deduped", "EleutherAI/pythia-1b"),
        ("vwxyzjn/EleutherAI_pythia-1b-deduped__sft__tldr", "EleutherAI/pythia-1b"),
        ("someone/pythia-1.4b-chat", "EleutherAI/pythia-1.4b"),
        ("Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-7B"),
    ],
)
def test_variants_have_their_bases_architecture(name: str, base: str) -> None:
    assert known(name) == known(base)


def test_unknown_models_are_not_guessed(tmp_path: Path) -> None:
    assert find_architecture(ModelConfig(path="someone/mystery-13b")) is None
    assert find_architecture(ModelConfig(path="someone/pythia-1bx")) is None
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mamba", "hidden_size": 8}))
    assert find_architecture(ModelConfig(path=str(tmp_path))) is None
    assert from_hugging_face({}) is None


def test_a_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(TABLE["Qwen/Qwen3-4B"]))
    assert known(str(tmp_path)) == known_models()["qwen/qwen3-4b"]


def eight_gpus(**resources: object) -> Config:
    config = load("tldr_pythia_1b", ["data.judgements=x"])
    for name, value in resources.items():
        setattr(config.resources, name, value)
    return config


@pytest.mark.parametrize(
    ("stage", "weights", "gradients", "optimizer"),
    [(0, 2, 2, 12), (1, 2, 2, 12 / 8), (2, 2, 2 / 8, 12 / 8), (3, 2 / 8, 2 / 8, 12 / 8)],
)
def test_zero_stages_divide_what_they_shard(stage: int, weights: float, gradients: float, optimizer: float) -> None:
    role = learner_memory("x", 8000, 8000, 1, known("tiny"), eight_gpus(zero_stage=stage))
    expected = {"weights": 8000 * weights, "gradients": 8000 * gradients, "optimizer": 8000 * optimizer}
    assert {part: role.parts[part] for part in expected} == expected


def test_offload_moves_the_optimizer_to_the_host() -> None:
    on_device = learner_memory("x", 8000, 8000, 1, known("tiny"), eight_gpus())
    off = learner_memory("x", 8000, 8000, 1, known("tiny"), eight_gpus(offload=True))
    assert off.parts["optimizer"] == 0
    moved = off.host - on_device.host
    assert moved == on_device.parts["optimizer"]
    assert off.device + moved == on_device.device


def test_fp32_without_zero_has_no_second_copy() -> None:
    config = load("tiny", ["resources.zero_stage=0"])
    role = learner_memory("x", 1000, 1000, 1, known("tiny"), config)
    assert (role.parts["weights"], role.parts["gradients"], role.parts["optimizer"]) == (4000, 4000, 8000)


def test_gradient_checkpointing_and_lora_save_memory() -> None:
    architecture = known("EleutherAI/pythia-1b")
    plain = stage_memory(eight_gpus(gradient_checkpointing=False), architecture)["ppo"]
    less = stage_memory(eight_gpus(), architecture)["ppo"]
    assert less[0].parts["activations"] < plain[0].parts["activations"] / 4
    config = eight_gpus()
    config.model.lora = LoraConfig(rank=16)
    assert stage_memory(config, architecture)["ppo"][0].parts["optimizer"] < less[0].parts["optimizer"] / 20


def test_the_reference_is_the_learners_with_lora_and_the_scorers_without() -> None:
    architecture = known("EleutherAI/pythia-1b")
    config = eight_gpus()
    full = stage_memory(config, architecture)["ppo"][-1].parts["weights"]
    config.model.lora = LoraConfig()
    assert full - stage_memory(config, architecture)["ppo"][-1].parts["weights"] == architecture.parameters * 2


def test_members_on_one_trunk_hold_it_once() -> None:
    architecture = known("EleutherAI/pythia-1b")
    trunk, hidden = architecture.trunk_parameters, architecture.hidden_size

    def weights(kind: str, members: int, precision: str = "fp32") -> int:
        config = eight_gpus()
        config.model.lora, config.model.precision = LoraConfig(rank=8), precision
        config.reward_model.kind, config.reward_model.members = kind, members
        return stage_memory(config, architecture)["ppo"][-1].parts["weights"]

    adapter = architecture.lora_parameters(8)
    assert weights("full", 5) == 4 * 5 * (trunk + hidden)
    assert weights("probe", 5) == 4 * (trunk + 5 * hidden)
    assert weights("probe", 5, "bf16") == 2 * (trunk + 5 * hidden)
    assert weights("lora", 5) == 4 * (trunk + 5 * (adapter + hidden))
    # Merged, where rounding would tell, and one alone.
    assert weights("lora", 5, "bf16") == 2 * 5 * (trunk + hidden)
    assert weights("lora", 1) == weights("full", 1) == 4 * (trunk + hidden)


def test_devices_are_shared_or_not() -> None:
    roles = [RoleMemory(name, 2, {"weights": size}) for name, size in (("policy", 5), ("value", 3), ("scorer", 9))]
    assert per_device(roles, eight_gpus(colocate=True).resources) == 17
    assert per_device(roles, eight_gpus(colocate=False).resources) == 9
    assert per_device(roles, load("tiny").resources) == 34


def test_disk_of_each_artifact() -> None:
    config = load("tiny")
    architecture = known("tiny")
    total, adapter = architecture.parameters, architecture.lora_parameters(4)
    sizes = {node.stage: stage_disk(node, config, architecture) for node in build_graph(config).nodes}
    checkpoint = checkpoint_bytes(adapter, "fp32")
    assert checkpoint == adapter * 16
    left = 4 * total + 4 * adapter
    assert sizes["sft"] == sizes["reward_model"] == StageDisk(left, checkpoint, left + 3 * checkpoint)
    left += 2 * 4 * adapter
    assert sizes["ppo"] == StageDisk(left, 2 * checkpoint, left + 3 * 2 * checkpoint)
    assert sizes["check"] == sizes["judgements"] == StageDisk()
    config.resources.keep_finished, config.resources.keep_best = 1, BestConfig(metric="ppo/score")
    sizes = {node.stage: stage_disk(node, config, architecture) for node in build_graph(config).nodes}
    assert sizes["ppo"] == StageDisk(left + 2 * 2 * checkpoint, 2 * checkpoint, left + 4 * 2 * checkpoint)


def test_vllm_keeps_what_it_pushes_on_the_host() -> None:
    whole, adapter = (load("tldr_pythia_1b", ["data.judgements=x", *more]) for more in ([], ["model.lora={rank: 8}"]))
    architecture = known("tiny")
    plain = engine_memory(whole.resources.rollout_batch, architecture, whole)
    assert vllm_memory(architecture, whole) == replace(plain, host=4 * architecture.parameters)
    assert vllm_memory(architecture, adapter).host == 8 * architecture.parameters
