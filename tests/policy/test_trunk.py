"""Packed texts against rows, through models of several families."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    MptConfig,
    MptForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from sandwiching.policy.attention import PACKED
from sandwiching.policy.heads import use_op_head
from sandwiching.policy.loading import load_causal_lm
from sandwiching.policy.logprobs import logprob_kl_op, padded_logprobs, response_logprobs
from sandwiching.policy.lora import LoraSpec, attach
from sandwiching.policy.modules import PolicyModule
from sandwiching.policy.padding import padded_left, padded_right
from sandwiching.policy.records import Texts
from sandwiching.policy.trunk import pack_attention, packs

P, T = 20, 6
PREFIX = tuple(range(40, 52))
SMALL: dict[str, Any] = {"vocab_size": 260, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
FAMILIES = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SMALL, intermediate_size=64, num_key_value_heads=1)),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=260, n_embd=32, n_layer=2, n_head=2, n_positions=64)),
    "gpt_neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**SMALL, intermediate_size=64)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SMALL, intermediate_size=64, num_key_value_heads=1)),
    "opt": lambda: OPTForCausalLM(
        OPTConfig(**SMALL, ffn_dim=64, max_position_embeddings=64, word_embed_proj_dim=32, dropout=0.0)
    ),
}
WHOLE_ROWS = {
    "sliding windows": lambda: MistralForCausalLM(
        MistralConfig(**SMALL, intermediate_size=64, num_key_value_heads=1, sliding_window=5)
    ),
    "frequencies by length": lambda: LlamaForCausalLM(
        LlamaConfig(
            **SMALL,
            intermediate_size=64,
            max_position_embeddings=16,
            rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0},
        )
    ),
    "distances by column": lambda: MptForCausalLM(
        MptConfig(d_model=32, n_heads=2, n_layers=2, vocab_size=260, max_seq_len=64)
    ),
    "recurrences": lambda: MambaForCausalLM(MambaConfig(vocab_size=260, hidden_size=32, num_hidden_layers=2)),
}


def batch() -> Texts:
    """Five texts that all begin with PREFIX, prompts of 13 to 20 tokens."""
    generator = torch.Generator().manual_seed(0)
    rests = [torch.randint(0, 256, (n,), generator=generator).tolist() for n in (1, 4, 8, 3, 8)]
    responses = [torch.randint(0, 256, (n,), generator=generator).tolist() for n in (6, 3, 1, 5, 0)]
    tokens_BP, attention_BP = padded_left([(*PREFIX, *rest) for rest in rests], 258, P)
    tokens_BT, mask_BT = padded_right(responses, 258, T)
    return Texts(torch.cat([tokens_BP, tokens_BT], 1), torch.cat([attention_BP, mask_BT], 1), mask_BT)


def decided(model: PreTrainedModel) -> PreTrainedModel:
    """Larger weights: attention of random ones is so even that a wrong mask hardly shows."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4)
    return model.eval()


def row_logprobs(model: PreTrainedModel, texts: Texts, temperature: float) -> tuple[Tensor, Tensor]:
    """Log-probs and entropies [M], text by text through the model's own forward, without padding."""
    parts = []
    for tokens_S, attention_S, mask_T in zip(texts.tokens_BS, texts.attention_BS, texts.response_mask_BT, strict=True):
        row_S = tokens_S[attention_S]
        places = range(len(row_S) - int(mask_T.sum()), len(row_S))
        logprobs_SV = (model(input_ids=row_S[None]).logits[0].double() / temperature).log_softmax(-1)
        for place in places:
            logprobs_V = logprobs_SV[place - 1]
            parts.append(torch.stack([logprobs_V[row_S[place]], -(logprobs_V.exp() * logprobs_V).sum()]))
    logprob_M, entropy_M = torch.stack(parts).float().unbind(1)
    return logprob_M, entropy_M


def gradients(model: PreTrainedModel, results: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """Of a weighted sum of log-probs and entropies."""
    model.zero_grad()
    logprob_M, entropy_M = results
    weight_M = torch.randn(len(logprob_M), generator=torch.Generator().manual_seed(1))
    ((logprob_M + 0.3 * entropy_M) * weight_M).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("prefix", [0, len(PREFIX)])
@pytest.mark.parametrize("family", FAMILIES)
def test_values_and_gradients_are_those_of_rows(family: str, prefix: int):
    torch.manual_seed(0)
    model, texts = decided(FAMILIES[family]()), batch()
    expected = row_logprobs(model, texts, 0.8)
    expected_gradients = gradients(model, expected)
    pack_attention(model)
    assert packs(model)
    results = response_logprobs(model, texts.packed(prefix), 0.8)
    assert expected[0].min() < -5
    torch.testing.assert_close(results, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(gradients(model, results), expected_gradients, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", WHOLE_ROWS)
def test_models_that_cannot_pack_get_rows(family: str):
    torch.manual_seed(0)
    model, texts = decided(WHOLE_ROWS[family]()), batch()
    pack_attention(model)
    assert not packs(model)
    with torch.no_grad():
        torch.testing.assert_close(
            response_logprobs(model, texts.packed(0), 0.8), row_logprobs(model, texts, 0.8), atol=1e-4, rtol=1e-4
        )
    with pytest.raises(AssertionError, match="shares no prefix"):
        response_logprobs(model, texts.packed(4), 0.8)


def test_soft_caps_are_not_packed():
    config = Gemma2Config(**SMALL, intermediate_size=64, num_key_value_heads=1, head_dim=16, sliding_window=64)
    config.layer_types = ["full_attention"] * 2
    model = Gemma2ForCausalLM(config)
    pack_attention(model)
    assert not packs(model)
    model.set_attn_implementation(PACKED)
    with pytest.raises(ValueError, match="soft caps"):
        model(input_ids=torch.tensor([[1, 2]]))


def test_a_packing_computes_no_token_twice_and_no_padding(model: PreTrainedModel):
    pack_attention(model)
    texts, shapes = batch(), []
    model.base_model.register_forward_pre_hook(
        lambda _, __, inputs: shapes.append(tuple(inputs["input_ids"].shape)), with_kwargs=True
    )
    padded_logprobs(model, texts, 1.0, len(PREFIX))
    assert shapes == [(1, int(texts.attention_BS.sum()) - 4 * len(PREFIX))]


def test_without_a_packing_the_model_is_as_it_was(model: PreTrainedModel):
    texts = batch()
    inputs = {"input_ids": texts.tokens_BS, "attention_mask": texts.attention_BS.long()}
    with torch.no_grad():
        expected = model(**inputs).logits[texts.attention_BS]
        pack_attention(model)
        torch.testing.assert_close(model(**inputs).logits[texts.attention_BS], expected, atol=1e-4, rtol=1e-4)


def test_a_cut_mask_fails_loudly(model: PreTrainedModel):
    pack_attention(model)
    layers = model.base_model.get_submodule("layers")
    for layer in layers.children():
        layer.register_forward_pre_hook(
            lambda _, args, inputs: (args, {**inputs, "attention_mask": inputs["attention_mask"][:, :, :3]}),
            with_kwargs=True,
        )
    with pytest.raises((AttributeError, RuntimeError)):
        padded_logprobs(model, batch(), 1.0)


@pytest.mark.parametrize("recomputed", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_passes_have_the_bits_of_each_other_with_and_without_gradient(model: PreTrainedModel, dtype, recomputed: bool):
    texts = batch()
    pack_attention(model)
    model.to(dtype=dtype)  # pyright: ignore[reportCallIssue, reportArgumentType]
    if recomputed:
        model.activation_checkpointing_enable()
        model.train()
    for rows in (torch.tensor([3, 1]), torch.tensor([0, 2])):
        responses = texts.select(rows).packed(12)
        with torch.no_grad():
            old_M, _ = response_logprobs(model, responses, 0.9)
        new_M, _ = response_logprobs(model, responses, 0.9)
        assert new_M.requires_grad
        assert torch.equal((new_M - old_M).exp(), torch.ones_like(old_M)), "PPO's ratio is 1"


def test_gradients_with_recomputed_activations(model: PreTrainedModel):
    responses = batch().packed(12)
    pack_attention(model)
    expected = gradients(model, response_logprobs(model, responses, 0.9))
    model.activation_checkpointing_enable()
    recomputed = gradients(model.train(), response_logprobs(model, responses, 0.9))
    torch.testing.assert_close(recomputed, expected)


def test_adapters_work_on_packed_texts(tiny: Path):
    texts = batch()
    model = attach(load_causal_lm(tiny, torch.float32), LoraSpec(4, 8), 0, "CAUSAL_LM")
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.3)
    assert packs(model)
    logprob_M, _ = response_logprobs(model, texts.packed(12), 1.0)
    logprob_M.sum().backward()
    assert all((p.grad is not None) == ("lora_" in name) for name, p in model.named_parameters())
    with torch.no_grad():
        expected_M, _ = row_logprobs(model, texts, 1.0)  # pyright: ignore[reportArgumentType]
    torch.testing.assert_close(logprob_M, expected_M, atol=1e-5, rtol=1e-5)


def test_policy_and_reference_in_one_pass(tiny: Path):
    """Exact KL of a LoRA policy to its reference, against all logits in fp64."""
    texts = batch()
    responses = texts.packed(12)
    base = load_causal_lm(tiny, torch.float32)
    use_op_head(base)
    module = PolicyModule(attach(base, LoraSpec(4, 8), 0, "CAUSAL_LM"), value_head=True)
    for name, parameter in module.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.3)
    with torch.no_grad():
        reference_MD, nothing = module(responses, None, reference=True)
        (logprob_M, reference_M, _, kl_M), values_M = module(
            responses, logprob_kl_op(responses.target_M, 0.8, reference_MD)
        )
        weight_VD = base.get_input_embeddings().weight.double()  # the head's own
        hidden_MD = module(responses, None)[0]
        policy_MV, base_MV = ((x.double() @ weight_VD.T / 0.8).log_softmax(-1) for x in (hidden_MD, reference_MD))
        expected_M, _ = row_logprobs(AutoModelForCausalLM.from_pretrained(tiny), texts, 0.8)
    exact_M = (policy_MV.exp() * (policy_MV - base_MV)).sum(1)
    assert nothing is None
    assert values_M.shape == logprob_M.shape == (int(texts.response_mask_BT.sum()),)
    assert exact_M.max() > 1e-3
    torch.testing.assert_close(kl_M.double(), exact_M, atol=1e-5, rtol=1e-3)
    torch.testing.assert_close(reference_M, expected_M, atol=1e-5, rtol=0)


def test_exports_do_not_name_our_attention(model: PreTrainedModel, tmp_path: Path):
    pack_attention(model)
    model.save_pretrained(tmp_path)
    assert PACKED not in (tmp_path / "config.json").read_text()
