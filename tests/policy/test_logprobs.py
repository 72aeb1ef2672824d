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
    PreTrainedModel,
)

from sandwiching.kernels.chunked import CHUNK_BYTES
from sandwiching.policy.heads import HeadOp, OpHead, apply_to_head, use_op_head
from sandwiching.policy.logprobs import logprob_op, naive_response_logprobs, padded_logprobs
from sandwiching.policy.lora import LoraSpec, attach
from sandwiching.policy.padding import padded_left, padded_right
from sandwiching.policy.records import Texts
from sandwiching.policy.trunk import trunk_hidden

T = 6


def batch(extra_left: int = 0, extra_right: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, attention and response mask of five rows of uneven length, with extra padding on either side."""
    generator = torch.Generator().manual_seed(0)
    prompts = [torch.randint(0, 256, (n,), generator=generator).tolist() for n in (1, 4, 9, 3, 9)]
    responses = [torch.randint(0, 256, (n,), generator=generator).tolist() for n in (6, 3, 1, 5, 0)]
    tokens_BP, attention_BP = padded_left(prompts, 258, 9 + extra_left)
    tokens_BT, mask_BT = padded_right(responses, 258, T + extra_right)
    return torch.cat([tokens_BP, tokens_BT], 1), torch.cat([attention_BP, mask_BT], 1), mask_BT


def response_logprobs(
    model: nn.Module, tokens_BS: Tensor, attention_BS: Tensor, response_width: int, temperature: float
) -> tuple[Tensor, Tensor]:
    """As naive_response_logprobs."""
    return padded_logprobs(model, Texts(tokens_BS, attention_BS, attention_BS[:, -response_width:]), temperature)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks as small as can be, so that a batch has several and an incomplete one."""
    monkeypatch.setitem(CHUNK_BYTES, "cpu", 1)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_equal_to_the_naive_reference_in_value_and_gradient(model: PreTrainedModel, temperature: float):
    tokens_BS, attention_BS, mask_BT = batch()
    weights_BT = torch.randn(mask_BT.shape, generator=torch.Generator().manual_seed(1)) * mask_BT
    results = []
    for function in (response_logprobs, naive_response_logprobs):
        model.zero_grad()
        logprobs_BT, entropy_BT = function(model, tokens_BS, attention_BS, T, temperature)
        ((logprobs_BT + 0.3 * entropy_BT) * weights_BT).sum().backward()
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        results.append((logprobs_BT[mask_BT].detach(), entropy_BT[mask_BT].detach(), gradients))
    assert results[0][0].dtype == torch.float32
    assert results[1][0].min() < -5
    torch.testing.assert_close(results[0], results[1], atol=2e-4, rtol=2e-4)
    assert results[0][2].keys() == dict(model.named_parameters()).keys()


@pytest.mark.usefixtures("small_chunks")
def test_with_and_without_gradient_the_bits_are_the_same(model: PreTrainedModel):
    tokens_BS, attention_BS, _ = batch()
    for dtype in (torch.float32, torch.bfloat16):
        model.to(dtype=dtype)  # pyright: ignore[reportCallIssue, reportArgumentType]
        new, _ = response_logprobs(model, tokens_BS, attention_BS, T, 0.9)
        with torch.no_grad():
            old, _ = response_logprobs(model, tokens_BS, attention_BS, T, 0.9)
        assert new.requires_grad
        assert torch.equal((new - old).exp(), torch.ones_like(old)), "PPO's ratio before the first step"


def test_padding_does_not_matter(model: PreTrainedModel):
    tokens_BS, attention_BS, mask_BT = batch()
    expected, _ = response_logprobs(model, tokens_BS, attention_BS, T, 1.0)
    tokens_BS, attention_BS, wide_mask_BT = batch(extra_left=5, extra_right=3)
    padded, _ = response_logprobs(model, tokens_BS, attention_BS, T + 3, 1.0)
    torch.testing.assert_close(padded[wide_mask_BT], expected[mask_BT], atol=2e-5, rtol=0)
    other_pads_BS = tokens_BS.where(attention_BS, 11)
    other, _ = response_logprobs(model, other_pads_BS, attention_BS, T + 3, 1.0)
    torch.testing.assert_close(other[wide_mask_BT], padded[wide_mask_BT], atol=0, rtol=0)
    for i in range(4):
        row = attention_BS[i]
        alone, _ = response_logprobs(model, tokens_BS[i : i + 1, row], row[None, row], int(wide_mask_BT[i].sum()), 1.0)
        torch.testing.assert_close(alone[0], padded[i][wide_mask_BT[i]], atol=2e-5, rtol=0)


class Counter(OpHead):
    """A head that remembers how many rows it was asked for."""

    rows = 0

    def forward(self, hidden_ND: Tensor, op: HeadOp[Any]) -> Any:
        Counter.rows += len(hidden_ND)
        return super().forward(hidden_ND, op)


@pytest.mark.usefixtures("small_chunks")
def test_only_response_positions_meet_the_head(model: PreTrainedModel):
    head = model.get_output_embeddings()
    assert isinstance(head, nn.Linear)
    model.set_output_embeddings(Counter.of(head))
    tokens_BS, attention_BS, mask_BT = batch(extra_left=50)
    Counter.rows = 0
    with torch.no_grad():
        response_logprobs(model, tokens_BS, attention_BS, T, 1.0)
    assert Counter.rows == mask_BT.sum()


@pytest.mark.parametrize("install", [False, True])
def test_bf16_models_get_fp32_logits(model: PreTrainedModel, install: bool):
    tokens_BS, attention_BS, mask_BT = batch()
    model.to(dtype=torch.bfloat16)  # pyright: ignore[reportCallIssue, reportArgumentType]
    trunk = model.base_model
    head = model.get_output_embeddings()
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        head.weight.mul_(10)
        hidden_BSD = trunk(
            input_ids=tokens_BS,
            attention_mask=attention_BS.long(),
            position_ids=(attention_BS.long().cumsum(-1) - 1).clamp(min=0),
        ).last_hidden_state
        exact_BTV = (hidden_BSD.double() @ head.weight.double().T)[:, -T - 1 : -1].log_softmax(-1)
        rounded_BTV = head(hidden_BSD).double()[:, -T - 1 : -1].log_softmax(-1)
        if install:
            use_op_head(model)
        logprobs_BT, entropy_BT = response_logprobs(model, tokens_BS, attention_BS, T, 1.0)
    target_BT1 = tokens_BS[:, -T:, None]
    exact_BT, rounded_BT = (x.gather(-1, target_BT1).squeeze(-1)[mask_BT] for x in (exact_BTV, rounded_BTV))
    assert (rounded_BT - exact_BT).abs().max() > 1e-2, "bf16 logits would be visibly wrong"
    torch.testing.assert_close(logprobs_BT[mask_BT].double(), exact_BT, atol=1e-4, rtol=0)
    expected_BT = -(exact_BTV.exp() * exact_BTV).sum(-1)[mask_BT]
    torch.testing.assert_close(entropy_BT[mask_BT].double(), expected_BT, atol=1e-4, rtol=1e-4)
    precision = torch.backends.mkldnn.matmul.fp32_precision  # pyright: ignore[reportAttributeAccessIssue]
    assert precision == "none", "the setting is restored"


def test_the_head_is_exact_under_autocast(model: PreTrainedModel):
    tokens_BS, attention_BS, mask_BT = batch()
    head = model.get_output_embeddings()
    assert isinstance(head, nn.Linear)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logprobs_BT, _ = response_logprobs(model, tokens_BS, attention_BS, T, 1.0)
        responses = Texts(tokens_BS, attention_BS, mask_BT).packed(0)
        hidden_MD = trunk_hidden(model, responses.packing)[responses.before_M]
        assert head(hidden_MD).dtype == torch.bfloat16, "autocast would round the logits"
    with torch.no_grad():
        expected_M, _ = apply_to_head(model, hidden_MD.float(), logprob_op(responses.target_M, 1.0))
    torch.testing.assert_close(logprobs_BT[mask_BT], expected_M, atol=1e-5, rtol=0)


def test_the_head_keeps_names_and_ties(model: PreTrainedModel):
    before = model.state_dict().keys()
    use_op_head(model)
    assert model.state_dict().keys() == before
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    assert head is not None
    assert head.weight is embeddings.weight


@pytest.mark.usefixtures("small_chunks")
def test_peft_models_with_and_without_their_adapter(tiny: Path):
    tokens_BS, attention_BS, mask_BT = batch()
    model = attach(AutoModelForCausalLM.from_pretrained(tiny), LoraSpec(4, 8), 0, "CAUSAL_LM")
    base_BT, _ = naive_response_logprobs(AutoModelForCausalLM.from_pretrained(tiny), tokens_BS, attention_BS, T, 1.0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.3)
    logprobs_BT, _ = response_logprobs(model, tokens_BS, attention_BS, T, 1.0)
    (logprobs_BT * mask_BT).sum().backward()
    assert all((p.grad is not None) == ("lora_" in name) for name, p in model.named_parameters())
    with model.disable_adapter(), torch.no_grad():
        reference_BT, _ = response_logprobs(model, tokens_BS, attention_BS, T, 1.0)
    torch.testing.assert_close(reference_BT[mask_BT], base_BT[mask_BT], atol=1e-5, rtol=0)
    assert (logprobs_BT - reference_BT)[mask_BT].abs().max() > 0.01


@pytest.mark.parametrize(
    "other",
    [
        lambda: GPT2LMHeadModel(GPT2Config(vocab_size=260, n_embd=32, n_layer=2, n_head=2, n_positions=64)),
        lambda: GPTNeoXForCausalLM(
            GPTNeoXConfig(
                vocab_size=260, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
            )
        ),
    ],
)
def test_other_families(other):
    torch.manual_seed(0)
    model = other().eval()
    tokens_BS, attention_BS, mask_BT = batch()
    with torch.no_grad():
        logprobs_BT, entropy_BT = response_logprobs(model, tokens_BS, attention_BS, T, 0.8)
        expected_BT, expected_entropy_BT = naive_response_logprobs(model, tokens_BS, attention_BS, T, 0.8)
    torch.testing.assert_close(logprobs_BT[mask_BT], expected_BT[mask_BT], atol=1e-5, rtol=0)
    torch.testing.assert_close(entropy_BT[mask_BT], expected_entropy_BT[mask_BT], atol=1e-5, rtol=0)


def test_logits_that_are_more_than_a_linear_layer_are_refused():
    config = Gemma2Config(
        vocab_size=260,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
    )
    tokens_BS, attention_BS, _ = batch()
    with pytest.raises(ValueError, match="final_logit_softcapping"):
        response_logprobs(Gemma2ForCausalLM(config), tokens_BS, attention_BS, T, 1.0)
