"""A shared prefix computed once against whole rows."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
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
    PreTrainedModel,
)

from sandwiching.policy.heads import use_op_head
from sandwiching.policy.logprobs import logprob_kl_op, response_logprobs, response_targets
from sandwiching.policy.lora import LoraSpec, attach
from sandwiching.policy.modules import PolicyModule
from sandwiching.policy.padding import SHORTEST_PREFIX, padded_left, padded_right, shared_prefix
from sandwiching.policy.trunk import shares_prefix

P, T = 20, 6
PREFIX = tuple(range(40, 52))
SMALL: dict[str, Any] = {"vocab_size": 260, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
FAMILIES = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SMALL, intermediate_size=64, num_key_value_heads=1)),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=260, n_embd=32, n_layer=2, n_head=2, n_positions=64)),
    "gpt_neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**SMALL, intermediate_size=64)),
    "distances by column": lambda: MptForCausalLM(
        MptConfig(d_model=32, n_heads=2, n_layers=2, vocab_size=260, max_seq_len=64)
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
    "recurrences": lambda: MambaForCausalLM(MambaConfig(vocab_size=260, hidden_size=32, num_hidden_layers=2)),
}


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, attention and response mask of five rows that all begin with PREFIX, prompts of 13 to 20 tokens."""
    generator = torch.Generator().manual_seed(0)
    rests = [torch.randint(0, 256, (n,), generator=generator).tolist() for n in (1, 4, 8, 3, 8)]
    responses = [torch.randint(0, 256, (n,), generator=generator).tolist() for n in (6, 3, 1, 5, 0)]
    tokens_BP, attention_BP = padded_left([(*PREFIX, *rest) for rest in rests], 258, P)
    tokens_BT, mask_BT = padded_right(responses, 258, T)
    return torch.cat([tokens_BP, tokens_BT], 1), torch.cat([attention_BP, mask_BT], 1), mask_BT


def decided(model: PreTrainedModel) -> PreTrainedModel:
    """Larger weights: attention of random ones is so even that a wrong mask hardly shows."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4)
    return model.eval()


def passes(model: PreTrainedModel) -> list[tuple[int, ...]]:
    """Shapes of what the trunk is given from now on."""
    shapes: list[tuple[int, ...]] = []
    model.base_model.register_forward_pre_hook(
        lambda _, __, inputs: shapes.append(tuple(inputs["input_ids"].shape)), with_kwargs=True
    )
    return shapes


@pytest.mark.parametrize("family", FAMILIES)
def test_values_and_gradients_are_those_of_whole_rows(family: str):
    torch.manual_seed(0)
    model = decided(FAMILIES[family]())
    assert shares_prefix(model)
    shapes = passes(model)
    tokens_BS, attention_BS, mask_BT = batch()
    prefix = shared_prefix(tokens_BS, attention_BS, P)
    assert prefix == len(PREFIX)
    weight_BT = torch.randn(mask_BT.shape, generator=torch.Generator().manual_seed(1)) * mask_BT
    results = []
    for length in (0, prefix):
        model.zero_grad()
        logprobs_BT, entropy_BT = response_logprobs(model, tokens_BS, attention_BS, T, 0.8, length)
        ((logprobs_BT + 0.3 * entropy_BT) * weight_BT).sum().backward()
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        results.append((logprobs_BT[mask_BT].detach(), entropy_BT[mask_BT].detach(), gradients))
    torch.testing.assert_close(results[1], results[0], atol=1e-4, rtol=1e-4)
    assert shapes == [(5, P + T), (1, prefix), (5, P + T - prefix)]


@pytest.mark.parametrize("family", WHOLE_ROWS)
def test_models_that_cannot_share_say_so(family: str):
    assert not shares_prefix(WHOLE_ROWS[family]())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_micro_batches_have_the_bits_of_each_other_with_and_without_gradient(model: PreTrainedModel, dtype):
    tokens_BS, attention_BS, mask_BT = batch()
    model.to(dtype=dtype)  # pyright: ignore[reportCallIssue, reportArgumentType]
    order = torch.tensor([3, 1, 0, 2])
    with torch.no_grad():
        old = [
            response_logprobs(model, tokens_BS[rows], attention_BS[rows], T, 0.9, 12)[0]
            for rows in (torch.tensor([0, 1]), torch.tensor([2, 3]))
        ]
    new = [response_logprobs(model, tokens_BS[rows], attention_BS[rows], T, 0.9, 12)[0] for rows in order.split(2)]
    old_BT, new_BT, kept_BT = torch.cat(old)[order], torch.cat(new), mask_BT[order]
    assert new_BT.requires_grad
    assert torch.equal((new_BT - old_BT)[kept_BT].exp(), torch.ones_like(old_BT[kept_BT])), "PPO's ratio is 1"


def test_adapters_work_on_both_parts(tiny: Path):
    tokens_BS, attention_BS, mask_BT = batch()
    model = attach(AutoModelForCausalLM.from_pretrained(tiny), LoraSpec(4, 8), 0, "CAUSAL_LM")
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.3)
    whole_BT, _ = response_logprobs(model, tokens_BS, attention_BS, T, 1.0)
    logprobs_BT, _ = response_logprobs(model, tokens_BS, attention_BS, T, 1.0, 12)
    torch.testing.assert_close(logprobs_BT[mask_BT], whole_BT[mask_BT], atol=1e-5, rtol=1e-5)
    (logprobs_BT * mask_BT).sum().backward()
    assert all((p.grad is not None) == ("lora_" in name) for name, p in model.named_parameters())


def test_recomputed_activations_need_whole_rows(model: PreTrainedModel):
    assert shares_prefix(model)
    model.activation_checkpointing_enable()
    assert shares_prefix(model.eval())
    assert not shares_prefix(model.train())


def test_policy_and_reference_in_one_pass(tiny: Path):
    """Exact KL of a LoRA policy to its reference, against all logits in fp64."""
    tokens_BS, attention_BS, mask_BT = batch()
    base = AutoModelForCausalLM.from_pretrained(tiny)
    use_op_head(base)
    module = PolicyModule(attach(base, LoraSpec(4, 8), 0, "CAUSAL_LM"), value_head=True)
    for name, parameter in module.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.3)
    target_N = response_targets(tokens_BS, attention_BS, T)
    with torch.no_grad():
        inputs = tokens_BS, attention_BS, 12, T
        reference_ND, nothing = module(*inputs, None, reference=True)
        (logprob_N, reference_N, _, kl_N), values_BT = module(*inputs, logprob_kl_op(target_N, 0.8, reference_ND))
        weight_VD = base.get_input_embeddings().weight.double()  # the head's own
        hidden_ND = module(*inputs, None)[0]
        policy_NV, base_NV = ((x.double() @ weight_VD.T / 0.8).log_softmax(-1) for x in (hidden_ND, reference_ND))
        untouched = AutoModelForCausalLM.from_pretrained(tiny)
        expected_BT, _ = response_logprobs(untouched, tokens_BS, attention_BS, T, 0.8)
    exact_N = (policy_NV.exp() * (policy_NV - base_NV)).sum(1).where(mask_BT.flatten(), 0.0)
    assert nothing is None
    assert values_BT.shape == mask_BT.shape
    assert exact_N.max() > 1e-3
    torch.testing.assert_close(kl_N.double(), exact_N, atol=1e-5, rtol=1e-3)
    torch.testing.assert_close(reference_N.view_as(mask_BT), expected_BT, atol=1e-5, rtol=0)
    assert not logprob_N[~mask_BT.flatten()].any()


rows = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=24), min_size=1, max_size=5)


@given(rows, st.integers(0, 16), st.booleans())
def test_the_longest_prefix_that_leaves_a_token(tails: list[list[int]], length: int, left: bool):
    texts = [[9] * length + tail for tail in tails]
    tokens_BS, attention_BS = (padded_left if left else padded_right)(texts, 0)
    shortest = min(map(len, texts))
    expected = next((i for i in range(shortest) if len({text[i] for text in texts}) > 1), shortest)
    expected = min(expected, shortest - 1)
    pays = len(texts) > 1 and expected >= SHORTEST_PREFIX
    assert shared_prefix(tokens_BS, attention_BS) == (expected if pays else 0)


def test_a_prompt_keeps_its_last_token():
    same_BS = torch.ones(3, 30, dtype=torch.int64)
    assert shared_prefix(same_BS, same_BS.bool(), prompt_width=20) == 19
