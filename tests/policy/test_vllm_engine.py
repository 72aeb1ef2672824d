"""Rollouts by a real vLLM process against Hugging Face generate and the trainer's log-probs."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from sandwiching.policy.engine import RolloutEngine, Sampling, TransformersEngine
from sandwiching.policy.logprobs import padded_logprobs
from sandwiching.policy.lora import LoraSpec, adapter_weights, attach
from sandwiching.policy.padding import padded_right
from sandwiching.policy.records import PromptBatch, Rollouts
from sandwiching.policy.tokenization import eos_token_id, load_tokenizer, pad_token_id
from sandwiching.policy.trunk import layer_states
from sandwiching.policy.vllm_engine import VLLMEngine
from sandwiching.policy.vllm_process import ServerError, ServerProcess, ServerSettings
from sandwiching.training.engines import vllm_python
from sandwiching.training.experience import worst_layer

SAMPLING = Sampling(temperature=0.9, max_new_tokens=24)
LORA = LoraSpec(rank=4, alpha=8)


PARENT = """
import sys
from pathlib import Path
from sandwiching.policy.vllm_process import ServerProcess, ServerSettings
server = ServerProcess(ServerSettings(Path("{python}"), Path("{model}"), "float32", 64, 4, 1, cache_bytes=1 << 25), 0)
print(server.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def folder(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decided model that likes to end after some ten tokens."""
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    tokenizer = load_tokenizer(tiny)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4)
        dict(model.named_parameters())["model.embed_tokens.weight"][eos_token_id(tokenizer)] *= 3  # the head's own
    folder = tmp_path_factory.mktemp("model")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def settings(folder: Path) -> ServerSettings:
    return ServerSettings(
        vllm_python(None), folder, "float32", max_model_len=128, max_batch=16, threads=2, cache_bytes=1 << 26
    )


def engine_of(settings: ServerSettings, lora: LoraSpec | None = None) -> VLLMEngine:
    tokenizer = load_tokenizer(settings.model)
    return VLLMEngine(settings, pad_token_id=pad_token_id(tokenizer), eos_token_id=eos_token_id(tokenizer), lora=lora)


@pytest.fixture(scope="module")
def engine(settings: ServerSettings) -> Iterator[VLLMEngine]:
    engine = engine_of(settings)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def model(folder: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def prompts() -> PromptBatch:
    """16 prompts of 1 to 32 tokens, two samples each."""
    rows = [list(range(65, 66 + 2 * i)) for i in range(16)]
    return PromptBatch.repeated([f"prompt-{i}" for i in range(16)], rows, 2)


@torch.no_grad()
def mismatch(model: torch.nn.Module, rollouts: Rollouts) -> float:
    """Largest difference between the engine's and the trainer's log-probs."""
    logprobs_BT, _ = padded_logprobs(model, rollouts, SAMPLING.temperature)
    return (logprobs_BT - rollouts.behaviour_logprobs_BT).abs().max().item()


def changed(model: PreTrainedModel, seed: int) -> dict[str, Tensor]:
    """Other weights, everywhere; the model gets them too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.02 * parameter.std().nan_to_num(1.0))
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.vllm
def test_greedy_text_is_that_of_transformers(engine: VLLMEngine, folder: Path, prompts: PromptBatch):
    tokenizer = load_tokenizer(folder)
    eos = eos_token_id(tokenizer)
    hugging_face = TransformersEngine(folder, pad_token_id=pad_token_id(tokenizer), eos_token_id=eos)
    expected = hugging_face.generate(prompts, Sampling(1e-6, 24), 0, 0)
    rows = [list(row) for row in prompts.tokens]
    answers, _ = engine.server.request("generate", rows, list(range(32)), 0.0, 24, eos)
    response_BT, mask_BT = padded_right([tokens for tokens, _ in answers], hugging_face.pad_token_id, 24)
    assert mask_BT.equal(expected.response_mask_BT)
    assert response_BT.equal(expected.response_BT)
    assert expected.finished_B.any()


@pytest.mark.vllm
def test_rollouts_are_of_their_seeds_and_weights(engine: VLLMEngine, model: PreTrainedModel, prompts: PromptBatch):
    protocol: RolloutEngine = engine
    first = protocol.generate(prompts, SAMPLING, 3, 7)
    assert mismatch(model, first) < 1e-3
    assert 0 < first.finished_B.sum() < 32, "the test needs rows of both kinds"
    assert len({tuple(row) for row in first.response_BT.tolist()}) == 32
    ends_B = first.response_BT.gather(1, first.response_mask_BT.sum(1, keepdim=True) - 1).squeeze(1)
    assert (ends_B == engine.eos_token_id).equal(first.finished_B)
    again = protocol.generate(prompts, SAMPLING, 3, 7)
    assert again.tokens_BS.equal(first.tokens_BS)
    part = protocol.generate(prompts.rows(8, 12), SAMPLING, 3, 7)
    assert part.response_BT.equal(first.response_BT[8:12])
    assert not protocol.generate(prompts, SAMPLING, 3, 8).response_BT.equal(first.response_BT)


@pytest.mark.vllm
def test_more_prompts_than_are_read_at_once(settings: ServerSettings):
    engine = engine_of(replace(settings, max_batch=100, cache_bytes=1 << 28))
    rows = [[65 + i % 50] * 100 + [i] for i in range(100)]
    prompts = PromptBatch.repeated([f"long-{i}" for i in range(100)], rows, 1)
    whole = engine.generate(prompts, SAMPLING, 0, 0)
    assert engine.generate(prompts.rows(90, 100), SAMPLING, 0, 0).response_BT.equal(whole.response_BT[90:])
    engine.close()


@pytest.mark.vllm
def test_five_pushes_of_all_weights(settings: ServerSettings, folder: Path, prompts: PromptBatch):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    engine = engine_of(settings)
    before = engine.generate(prompts, SAMPLING, 0, 0)
    for version in range(1, 6):
        engine.load_weights(changed(model, version), version)
        rollouts = engine.generate(prompts, SAMPLING, 0, 0)
        assert engine.version == version
        assert not rollouts.tokens_BS.equal(before.tokens_BS)
        assert mismatch(model, rollouts) < 1e-3, f"push {version}"
        before = rollouts
    engine.load_weights(dict(model.state_dict()), 6)
    assert engine.generate(prompts, SAMPLING, 0, 0).tokens_BS.equal(before.tokens_BS), "the push changed nothing"
    part = {name: x for name, x in model.state_dict().items() if "layers.1.mlp.up" not in name}
    with pytest.raises(ValueError, match=r"missing \['model\.layers\.1\.mlp\.up_proj\.weight'\]"):
        engine.load_weights(part, 7)
    assert engine.generate(prompts, SAMPLING, 0, 0).tokens_BS.equal(before.tokens_BS)
    engine.close()


@pytest.mark.vllm
def test_the_layer_that_differs_is_named(settings: ServerSettings, folder: Path):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    engine, text = engine_of(settings), [70, 71, 72, 73]
    torch.testing.assert_close(engine.layer_states(text), layer_states(model, text), atol=1e-3, rtol=1e-3)
    wrong = {name: x * 1.3 if "layers.1.mlp" in name else x for name, x in model.state_dict().items()}
    engine.load_weights(wrong, 1)
    assert worst_layer(engine.layer_states(text), layer_states(model, text)).startswith("decoder layer 1 differs most")
    engine.close()


@pytest.mark.vllm
def test_five_pushes_of_an_adapter(settings: ServerSettings, folder: Path, prompts: PromptBatch):
    engine = engine_of(settings, LORA)
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    policy = attach(base, LORA, 0, "CAUSAL_LM").eval()
    before = engine.generate(prompts, SAMPLING, 0, 0)
    for version in range(1, 6):
        with torch.no_grad():
            for name, parameter in policy.named_parameters():
                if "lora_" in name:
                    parameter.add_(torch.randn(parameter.shape) * 0.1)
        engine.load_weights(adapter_weights(policy), version)
        rollouts = engine.generate(prompts, SAMPLING, 0, 0)
        assert not rollouts.tokens_BS.equal(before.tokens_BS)
        assert mismatch(policy, rollouts) < 1e-3, f"push {version}"
        before = rollouts
    engine.close()


@pytest.mark.vllm
def test_killed_in_a_rollout_it_comes_back_with_the_right_weights(
    settings: ServerSettings, folder: Path, prompts: PromptBatch, caplog: pytest.LogCaptureFixture
):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    engine = engine_of(settings)
    engine.load_weights(changed(model, 1), 1)
    expected = engine.generate(prompts, SAMPLING, 0, 0)
    first = engine.server.pid

    def kill() -> None:
        while psutil.Process(first).cpu_percent(0.05) < 20:
            pass
        os.kill(first, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with caplog.at_level(logging.WARNING):
        rollouts = engine.generate(prompts, SAMPLING, 0, 0)
    killer.join()
    assert engine.restarts() == 1
    assert f"process {first} ended in 'generate'" in caplog.text
    assert rollouts.tokens_BS.equal(expected.tokens_BS)
    assert mismatch(model, rollouts) < 1e-3
    engine.close()


@pytest.mark.vllm
def test_a_hung_process_is_replaced(settings: ServerSettings, prompts: PromptBatch):
    engine = engine_of(replace(settings, timeout=20.0))
    expected = engine.generate(prompts, SAMPLING, 0, 0)
    os.kill(engine.server.pid, signal.SIGSTOP)
    assert engine.generate(prompts, SAMPLING, 0, 0).tokens_BS.equal(expected.tokens_BS)
    assert engine.restarts() == 1
    engine.close()


@pytest.mark.vllm
def test_given_texts_are_scored(engine: VLLMEngine, folder: Path, tokenizer: PreTrainedTokenizerBase):
    hugging_face = TransformersEngine(
        folder, pad_token_id=pad_token_id(tokenizer), eos_token_id=eos_token_id(tokenizer)
    )
    texts = [[65, 66, 67], [70]], [[5, 6, 7], [9]]
    torch.testing.assert_close(engine.logprobs(*texts, 1.0), hugging_face.logprobs(*texts, 1.0), atol=1e-3, rtol=1e-4)
    with pytest.raises(ValueError, match="at temperature 1 only"):
        engine.logprobs(*texts, 0.7)


@pytest.mark.vllm
def test_what_vllm_refuses_is_not_tried_again(engine: VLLMEngine):
    long = PromptBatch(("p",), (0,), (tuple([65] * 300),))
    with pytest.raises(ServerError, match="128"):
        engine.generate(long, SAMPLING, 0, 0)
    fitting = PromptBatch(("p",), (0,), (tuple([65] * 120),))
    with pytest.raises(ValueError, match="p: 120 tokens leave no room for 24 more within max_length=128"):
        engine.generate(fitting, SAMPLING, 0, 0)
    assert engine.restarts() == 0


@pytest.mark.vllm
def test_no_process_outlives_its_parent(settings: ServerSettings):
    names = {"python": str(settings.python), "model": str(settings.model)}
    parent = psutil.Popen([sys.executable, "-c", PARENT.format(**names)], stdin=-1, stdout=-1)
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_an_environment_without_vllm_says_so(tiny: Path):
    settings = ServerSettings(
        python=Path(sys.executable), model=tiny, dtype="float32", max_model_len=64, max_batch=4, threads=1
    )
    with pytest.raises(RuntimeError, match="No module named 'vllm'"):
        ServerProcess(settings, 0)
