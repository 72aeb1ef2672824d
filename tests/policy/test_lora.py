import json
import re
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from sandwiching.policy.lora import LoraSpec, adapter_weights, attach, export, load_adapter_weights, save_adapter
from sandwiching.policy.merging import merged

SPEC = LoraSpec(rank=4, alpha=8)
TOKENS = torch.arange(40).view(2, 20)


def language_model(tiny: Path, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(tiny, dtype=dtype).eval()


def reward_model(tiny: Path) -> PreTrainedModel:
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(tiny, num_labels=1, dtype=torch.float32).eval()
    model.config.reward_mean, model.config.reward_std = 1.5, 2.5
    return model


def trained(model: PreTrainedModel, task_type: str, std: float = 0.2) -> PeftModel:
    """With an adapter and head that have moved."""
    wrapped = attach(model, SPEC, 0, task_type)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator) * std
                parameter.add_(noise.to(parameter.dtype))
    return wrapped.eval()


def outputs(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model(input_ids=TOKENS).logits.float()


def test_a_fresh_adapter_does_nothing_and_comes_from_the_seed_alone(tiny: Path):
    before = outputs(language_model(tiny))
    state = torch.get_rng_state()
    models = [attach(language_model(tiny), SPEC, seed, "CAUSAL_LM").eval() for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(outputs(models[0]), before)
    first, same, other = (adapter_weights(model) for model in models)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_all_linear_layers_but_the_head_get_an_adapter(tiny: Path):
    policy = attach(language_model(tiny), SPEC, 0, "CAUSAL_LM")
    assert len(adapter_weights(policy)) == 2 * 7 * 2
    assert not any("lm_head" in name or "embed" in name for name in adapter_weights(policy))
    reward = attach(reward_model(tiny), SPEC, 0, "SEQ_CLS")
    assert len(adapter_weights(reward)) == 2 * 7 * 2 + 1
    assert [name for name in adapter_weights(reward) if "score" in name] == ["base_model.model.score.weight"]


def test_adapters_on_embeddings_are_refused(tiny: Path):
    with pytest.raises(ValueError, match="embed_tokens"):
        attach(language_model(tiny), LoraSpec(4, 8, ".*embed_tokens"), 0, "CAUSAL_LM")


@pytest.mark.parametrize(("make", "task_type"), [(language_model, "CAUSAL_LM"), (reward_model, "SEQ_CLS")])
def test_adapter_weights_move_between_models(tiny: Path, make, task_type: str):
    source, target = trained(make(tiny), task_type), attach(make(tiny), SPEC, 5, task_type).eval()
    assert not torch.allclose(outputs(source), outputs(target))
    load_adapter_weights(target, adapter_weights(source))
    assert torch.equal(outputs(source), outputs(target))


def test_wrong_adapter_weights_are_refused(tiny: Path):
    model = trained(language_model(tiny), "CAUSAL_LM")
    weights = adapter_weights(model)
    name = next(iter(weights))
    with pytest.raises(ValueError, match=rf"missing.*{re.escape(name)}"):
        load_adapter_weights(model, {key: value for key, value in weights.items() if key != name})
    with pytest.raises(ValueError, match=r"unknown.*odd"):
        load_adapter_weights(model, {**weights, "odd": weights[name]})


@pytest.mark.parametrize(
    ("make", "task_type", "auto"),
    [
        (language_model, "CAUSAL_LM", AutoModelForCausalLM),
        (reward_model, "SEQ_CLS", AutoModelForSequenceClassification),
    ],
)
def test_the_exported_folder_loads_with_plain_transformers(
    tiny: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path, make, task_type: str, auto
):
    model = trained(make(tiny), task_type)
    expected = outputs(model)
    export(model, tokenizer, tmp_path / "model", tmp_path / "adapter")

    assert torch.equal(outputs(model), expected), "the model itself is unchanged"
    assert not torch.allclose(expected, outputs(make(tiny)), atol=0.1)
    files = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= files
    assert "adapter_config.json" not in files
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["dtype"] == "float32"
    loaded, info = auto.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    torch.testing.assert_close(outputs(loaded.eval()), expected, atol=1e-4, rtol=0)
    assert AutoTokenizer.from_pretrained(tmp_path / "model").get_vocab() == tokenizer.get_vocab()
    if task_type == "SEQ_CLS":
        assert (loaded.config.reward_mean, loaded.config.reward_std, loaded.config.num_labels) == (1.5, 2.5, 1)
    else:
        assert loaded.get_input_embeddings().weight is loaded.get_output_embeddings().weight

    again = PeftModel.from_pretrained(make(tiny), tmp_path / "adapter").eval()
    torch.testing.assert_close(outputs(again), expected, atol=1e-4, rtol=0)


def test_the_merge_equals_that_of_peft(tiny: Path):
    model = trained(language_model(tiny), "CAUSAL_LM")
    ours = merged(model).state_dict()
    theirs = model.merge_and_unload().state_dict()
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        torch.testing.assert_close(weight, theirs[name], atol=1e-6, rtol=1e-6)


def test_transposed_layers_merge_too(tokenizer: PreTrainedTokenizerBase):
    torch.manual_seed(0)
    plain = GPT2LMHeadModel(GPT2Config(vocab_size=260, n_embd=32, n_layer=2, n_head=2, n_positions=64)).eval()
    model = trained(plain, "CAUSAL_LM")
    torch.testing.assert_close(outputs(merged(model)), outputs(model), atol=1e-4, rtol=0)


def test_a_young_adapter_on_a_bf16_model_survives_the_merge(tiny: Path):
    """Its change of a weight is below a bf16 step, so a bf16 merge would round it away."""
    model = trained(language_model(tiny, torch.bfloat16), "CAUSAL_LM", std=1e-4)
    name = "model.layers.0.self_attn.q_proj.weight"
    whole = merged(model)
    assert whole.dtype == torch.float32
    start = language_model(tiny, torch.bfloat16).state_dict()[name]
    change = whole.state_dict()[name] - start.float()
    lost = (whole.state_dict()[name].bfloat16() == start)[change != 0].float().mean()
    assert change.abs().max() > 0
    assert lost > 0.5


def test_whole_weights_can_be_given_from_outside(tiny: Path):
    """As a learner under ZeRO-3 does: the trained parameters alone, by the names of named_parameters."""
    source, target = (trained(reward_model(tiny), "SEQ_CLS", std) for std in (0.2, 0.3))
    expected = outputs(merged(source))
    given = {name: parameter for name, parameter in source.named_parameters() if parameter.requires_grad}
    torch.testing.assert_close(outputs(merged(target, given)), expected)
    assert all(torch.equal(w, adapter_weights(source)[n]) for n, w in adapter_weights(target, given).items())


def test_sharded_weights_are_refused(tiny: Path):
    model = language_model(tiny)
    with pytest.raises(ValueError, match=r"sharded.*state_dict"):
        merged(model, {"model.norm.weight": torch.empty(0)})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_full_fine_tuning_exports_the_weights_as_they_are(
    tiny: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path, dtype: torch.dtype
):
    model = language_model(tiny, dtype)
    nn.init.normal_(model.get_parameter("model.embed_tokens.weight"))
    export(model, tokenizer, tmp_path / "model", tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    assert loaded.dtype == dtype
    assert torch.equal(outputs(loaded), outputs(model))


@pytest.mark.parametrize("lora", [False, True])
def test_sharded_tied_weights_need_not_be_given_twice(tiny: Path, lora: bool):
    """As named_parameters under ZeRO-3 gives them; nothing is left in the model itself."""
    model = trained(language_model(tiny), "CAUSAL_LM") if lora else language_model(tiny)
    expected = outputs(model)
    given = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    assert not any("lm_head" in name for name in given)
    for parameter in model.parameters():
        parameter.data = torch.empty(0)
    torch.testing.assert_close(outputs(merged(model, given)), expected, atol=1e-5, rtol=0)


def test_stale_tied_weights_do_not_win(tiny: Path):
    model = language_model(tiny)
    given = {"model.embed_tokens.weight": torch.ones(260, 64)}
    whole = merged(model, given)
    assert whole.state_dict()["lm_head.weight"].eq(1).all()


def test_fp32_masters_of_a_bf16_model_are_exported_in_fp32(
    tiny: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
):
    masters = {name: p.float() + 1e-6 for name, p in language_model(tiny).named_parameters()}
    export(language_model(tiny, torch.bfloat16), tokenizer, tmp_path, state_dict=masters)
    written = load_file(tmp_path / "model.safetensors")
    assert written.keys() == masters.keys()
    assert all(torch.equal(written[name], masters[name]) for name in masters)


def test_weights_that_are_not_finite_are_not_exported(tiny: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path):
    model = language_model(tiny)
    with torch.no_grad():
        model.get_parameter("model.embed_tokens.weight")[3, 3] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        export(model, tokenizer, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_the_adapter_file_is_the_same_in_every_process(tiny: Path, tmp_path: Path):
    save_adapter(trained(language_model(tiny), "CAUSAL_LM"), tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["target_modules"] == sorted(config["target_modules"])
    assert config["inference_mode"] is True


def test_an_adapter_beside_the_merged_model_is_refused(tiny: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(OSError, match="second time"):
        export(trained(language_model(tiny), "CAUSAL_LM"), tokenizer, tmp_path)
