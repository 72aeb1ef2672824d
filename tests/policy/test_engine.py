from dataclasses import fields
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from sandwiching.policy.base_models import resolve
from sandwiching.policy.engine import RolloutEngine, Sampling, TransformersEngine
from sandwiching.policy.logprobs import naive_response_logprobs
from sandwiching.policy.lora import LoraSpec, adapter_weights, attach
from sandwiching.policy.merging import merged
from sandwiching.policy.records import PromptBatch, Rollouts
from sandwiching.policy.tokenization import encode_prompt, eos_token_id, load_tokenizer, pad_token_id

SAMPLING = Sampling(temperature=0.9, max_new_tokens=40)
LORA = LoraSpec(rank=4, alpha=8)


@pytest.fixture
def folder(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> Path:
    """A model that likes to end after some ten tokens."""
    head = model.get_output_embeddings()
    assert isinstance(head, torch.nn.Linear)
    with torch.no_grad():
        head.weight[eos_token_id(tokenizer)] *= 3
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def make(folder: Path, tokenizer: PreTrainedTokenizerBase, **options) -> TransformersEngine:
    return TransformersEngine(
        folder, pad_token_id=pad_token_id(tokenizer), eos_token_id=eos_token_id(tokenizer), **options
    )


def permuted(batch: PromptBatch, order: list[int]) -> PromptBatch:
    return PromptBatch(*(tuple(getattr(batch, f.name)[i] for i in order) for f in fields(batch)))


def assert_same_text(a: Rollouts, b: Rollouts) -> None:
    assert torch.equal(a.response_BT, b.response_BT)
    assert torch.equal(a.response_mask_BT, b.response_mask_BT)
    assert torch.equal(a.finished_B, b.finished_B)
    torch.testing.assert_close(a.behaviour_logprobs_BT, b.behaviour_logprobs_BT, atol=1e-4, rtol=0)


def test_the_engine_fits_the_protocol(folder: Path, tokenizer: PreTrainedTokenizerBase):
    engine: RolloutEngine = make(folder, tokenizer)
    assert engine.version == 0


def test_a_rollout_does_not_depend_on_its_batch(folder: Path, tokenizer: PreTrainedTokenizerBase, prompts: PromptBatch):
    engine = make(folder, tokenizer)
    whole = engine.generate(prompts, SAMPLING, seed=5, step=2)
    assert 0 < whole.finished_B.sum() < len(prompts), "the test needs rows of both kinds"
    assert len({tuple(row) for row in whole.response_BT.tolist()}) == len(prompts)

    assert_same_text(engine.generate(prompts, SAMPLING, 5, 2), whole)
    halves = [engine.generate(prompts.rows(start, start + 8), SAMPLING, 5, 2) for start in (0, 8)]
    for half, start in zip(halves, (0, 8), strict=True):
        assert_same_text(half, whole.select(torch.arange(start, start + 8)))
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    assert_same_text(engine.generate(permuted(prompts, order.tolist()), SAMPLING, 5, 2), whole.select(order))
    assert_same_text(make(folder, tokenizer, max_batch=3).generate(prompts, SAMPLING, 5, 2), whole)


def test_seed_and_step_change_the_text(folder: Path, tokenizer: PreTrainedTokenizerBase, prompts: PromptBatch):
    engine = make(folder, tokenizer)
    texts = [engine.generate(prompts, SAMPLING, seed, step).response_BT for seed, step in [(0, 0), (1, 0), (0, 1)]]
    assert not torch.equal(texts[0], texts[1])
    assert not torch.equal(texts[0], texts[2])


def test_masks_end_with_eos(folder: Path, tokenizer: PreTrainedTokenizerBase, prompts: PromptBatch):
    rollouts = make(folder, tokenizer).generate(prompts, SAMPLING, seed=5, step=2)
    eos, pad, width = eos_token_id(tokenizer), pad_token_id(tokenizer), SAMPLING.max_new_tokens
    assert rollouts.response_mask_BT.shape == (16, width)
    assert rollouts.prompt_width == max(map(len, prompts.tokens))
    for i in range(len(prompts)):
        prompt = rollouts.tokens_BS[i, : rollouts.prompt_width][rollouts.attention_BS[i, : rollouts.prompt_width]]
        assert prompt.tolist() == list(prompts.tokens[i])
        row, mask = rollouts.response_BT[i].tolist(), rollouts.response_mask_BT[i].tolist()
        length = row.index(eos) + 1 if eos in row else width
        assert mask == [True] * length + [False] * (width - length)
        assert row[length:] == [pad] * (width - length)
        assert bool(rollouts.finished_B[i]) == (eos in row)
        assert (rollouts.behaviour_logprobs_BT[i, length:] == 0).all()
    assert torch.equal(rollouts.attention_BS[:, rollouts.prompt_width :], rollouts.response_mask_BT)


def test_an_engine_whose_rows_all_end_early_pads_to_the_full_width(
    folder: Path, tokenizer: PreTrainedTokenizerBase, prompts: PromptBatch
):
    rollouts = make(folder, tokenizer).generate(prompts, Sampling(0.9, 800), seed=5, step=2)
    assert rollouts.finished_B.all()
    assert rollouts.response_mask_BT.shape == (16, 800)
    assert rollouts.response_mask_BT.sum(1).max() < 800


def test_a_sampled_pad_token_does_not_end_a_response(
    folder: Path, tokenizer: PreTrainedTokenizerBase, prompts: PromptBatch
):
    eos = eos_token_id(tokenizer)
    plain = make(folder, tokenizer).generate(prompts, SAMPLING, 5, 2)
    sampled_N = plain.response_BT[plain.response_mask_BT]
    common = int(sampled_N[sampled_N != eos].mode().values)
    odd = TransformersEngine(folder, pad_token_id=common, eos_token_id=eos).generate(prompts, SAMPLING, 5, 2)
    assert torch.equal(odd.response_mask_BT, plain.response_mask_BT)
    assert torch.equal(odd.response_BT[odd.response_mask_BT], plain.response_BT[plain.response_mask_BT])


def test_generation_settings_of_the_model_do_not_leak_in(
    folder: Path, tokenizer: PreTrainedTokenizerBase, prompts: PromptBatch
):
    whole = make(folder, tokenizer).generate(prompts, SAMPLING, 5, 2)
    GenerationConfig(
        do_sample=True,
        temperature=0.1,
        top_k=2,
        top_p=0.5,
        repetition_penalty=3.0,
        no_repeat_ngram_size=2,
        min_new_tokens=35,
        suppress_tokens=list(range(100)),
        eos_token_id=[eos_token_id(tokenizer), *range(50)],
    ).save_pretrained(folder)
    assert AutoModelForCausalLM.from_pretrained(folder).generation_config.repetition_penalty == 3.0
    assert_same_text(make(folder, tokenizer).generate(prompts, SAMPLING, 5, 2), whole)


def test_behaviour_logprobs_are_those_of_the_policy(
    folder: Path, tokenizer: PreTrainedTokenizerBase, prompts: PromptBatch
):
    rollouts = make(folder, tokenizer).generate(prompts, SAMPLING, seed=5, step=2)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        expected_BT, _ = naive_response_logprobs(
            model, rollouts.tokens_BS, rollouts.attention_BS, SAMPLING.max_new_tokens, SAMPLING.temperature
        )
    expected_BT = expected_BT.where(rollouts.response_mask_BT, 0)
    torch.testing.assert_close(rollouts.behaviour_logprobs_BT, expected_BT, atol=1e-4, rtol=0)
    assert expected_BT.min() < -3, "peaked rows alone would prove little"


def test_logprobs_sum_over_the_response(folder: Path, tokenizer: PreTrainedTokenizerBase, prompts: PromptBatch):
    engine = make(folder, tokenizer, max_batch=3)
    responses = [list(range(100, 100 + i % 5)) for i in range(len(prompts))]
    sums_B = engine.logprobs(prompts.tokens, responses, temperature=0.7)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    for prompt, response, total in zip(prompts.tokens, responses, sums_B, strict=True):
        with torch.no_grad():
            logits_SV = model(torch.tensor([[*prompt, *response]])).logits[0].double() / 0.7
        logprobs_SV = logits_SV.log_softmax(-1)
        expected = sum(logprobs_SV[len(prompt) - 1 + i, token].item() for i, token in enumerate(response))
        assert total.item() == pytest.approx(expected, abs=1e-4)


def test_divergence_is_the_kl_of_whole_distributions_at_each_token(
    folder: Path, tokenizer: PreTrainedTokenizerBase, prompts: PromptBatch, tmp_path: Path
):
    other = AutoModelForCausalLM.from_pretrained(folder)
    generator = torch.Generator().manual_seed(0)
    for parameter in other.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    other.eval().save_pretrained(tmp_path / "other")
    engine = make(folder, tokenizer, max_batch=3)
    responses = [list(range(100, 100 + i % 5)) for i in range(len(prompts))]
    found_B = engine.divergence(tmp_path / "other", prompts.tokens, responses, temperature=0.7)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    for prompt, response, total in zip(prompts.tokens, responses, found_B, strict=True):
        tokens = torch.tensor([[*prompt, *response]])
        with torch.no_grad():
            own_SV, other_SV = (
                (one(tokens).logits[0].double() / 0.7).log_softmax(-1)[len(prompt) - 1 : -1] for one in (model, other)
            )
        expected = (own_SV.exp() * (own_SV - other_SV)).sum().item()
        assert total.item() == pytest.approx(expected, abs=1e-4)
    assert found_B.max() > 0.01
    assert engine.divergence(folder, prompts.tokens, responses, temperature=0.7).abs().max() < 1e-5


def test_adapter_weights_change_the_policy(folder: Path, tokenizer: PreTrainedTokenizerBase, prompts: PromptBatch):
    trained = attach(AutoModelForCausalLM.from_pretrained(folder), LORA, seed=3, task_type="CAUSAL_LM")
    for parameter in trained.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(parameter.numel()))
    engine = make(folder, tokenizer, lora=LORA)
    start = make(folder, tokenizer).generate(prompts, SAMPLING, 5, 2)
    assert_same_text(engine.generate(prompts, SAMPLING, 5, 2), start)
    engine.load_weights(adapter_weights(trained), 7)
    assert engine.version == 7
    whole = make(folder, tokenizer)
    whole.load_weights(merged(trained).state_dict(), 8)
    after = engine.generate(prompts, SAMPLING, 5, 2)
    assert not torch.equal(after.response_BT, start.response_BT)
    torch.testing.assert_close(
        engine.logprobs(prompts.tokens, [(5, 6, 7)] * 16, 1.0), whole.logprobs(prompts.tokens, [(5, 6, 7)] * 16, 1.0)
    )
    engine.load(folder, 9)
    assert engine.version == 9
    assert_same_text(engine.generate(prompts, SAMPLING, 5, 2), start)


def test_all_weights_can_be_given_with_tied_ones_once(
    folder: Path, tokenizer: PreTrainedTokenizerBase, prompts: PromptBatch
):
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.get_parameter("model.embed_tokens.weight").mul_(0.5)
    weights = dict(model.named_parameters())
    assert "lm_head.weight" not in weights
    engine = make(folder, tokenizer)
    engine.load_weights(weights, 1)
    model.save_pretrained(folder)
    assert_same_text(
        engine.generate(prompts, SAMPLING, 5, 2), make(folder, tokenizer).generate(prompts, SAMPLING, 5, 2)
    )


def test_wrong_weights_are_refused(folder: Path, tokenizer: PreTrainedTokenizerBase):
    weights = dict(AutoModelForCausalLM.from_pretrained(folder).named_parameters())
    name = next(iter(weights))
    full, low_rank = make(folder, tokenizer), make(folder, tokenizer, lora=LORA)
    with pytest.raises(ValueError, match="missing"):
        full.load_weights({key: value for key, value in weights.items() if key != name}, 1)
    with pytest.raises(ValueError, match="unknown"):
        full.load_weights({**weights, "odd": weights[name]}, 1)
    with pytest.raises(ValueError, match="missing"):
        low_rank.load_weights(weights, 1)
    assert full.version == low_rank.version == 0


def test_bad_requests_are_refused(folder: Path, tokenizer: PreTrainedTokenizerBase):
    engine = make(folder, tokenizer)
    for batch in (PromptBatch((), (), ()), PromptBatch(("a",), (0,), ((),))):
        with pytest.raises(ValueError, match="prompt"):
            engine.generate(batch, SAMPLING, 0, 0)
    with pytest.raises(ValueError, match="temperature"):
        Sampling(0.0, 3)
    with pytest.raises(ValueError, match="max_new_tokens"):
        Sampling(1.0, 0)


@pytest.mark.slow
def test_smollm2_samples_the_same_text_in_any_batch():
    folder = resolve("smollm2-135m")
    tokenizer = load_tokenizer(folder)
    questions = ["What is the capital of Peru?", "Name a river.", "Who was Ada Lovelace, and what did she do?", "Hi"]
    tokens = [tuple(encode_prompt(tokenizer, [{"role": "user", "content": q}])) for q in questions]
    batch = PromptBatch(
        tuple(q for q in questions for _ in range(4)), (0, 1, 2, 3) * 4, tuple(t for t in tokens for _ in range(4))
    )
    engine = make(folder, tokenizer)
    sampling = Sampling(1.0, 24)
    whole = engine.generate(batch, sampling, 0, 0)
    assert_same_text(make(folder, tokenizer, max_batch=8).generate(batch, sampling, 0, 0), whole)
    order = torch.arange(15, -1, -1)
    assert_same_text(engine.generate(permuted(batch, order.tolist()), sampling, 0, 0), whole.select(order))
