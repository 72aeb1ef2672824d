"""Every exported folder in a process with transformers and PEFT alone: the scores and log-probs of our own code."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from sandwiching.configs.schema import LoraConfig
from sandwiching.policy.loading import load_causal_lm, load_score_model
from sandwiching.policy.logprobs import padded_logprobs
from sandwiching.policy.lora import attach, load_adapter_weights
from sandwiching.policy.packing import Packing
from sandwiching.policy.padding import padded_left, padded_right
from sandwiching.policy.records import Texts
from sandwiching.policy.tokenization import encode, load_tokenizer
from sandwiching.training.artifacts import StageFolder
from sandwiching.training.readout import last_token_scores
from sandwiching.training.weights import lora_spec

SFT = "sandwiching.training.sft:train_sft"
REWARD = "sandwiching.training.reward_model:train_reward_model"
LORA = LoraConfig(rank=4, alpha=8)
TEXTS = [("Question: abc", "xxyz"), ("What is the capital of France?", "I am sure it is Paris."), ("é", "x"), ("q", "")]

PLAIN = """
import json, sys
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

found = {}
request = json.load(sys.stdin)
for name, (kind, folder, adapter) in request["folders"].items():
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if kind == "policy":
        model = AutoModelForCausalLM.from_pretrained(folder)
    elif adapter is None:
        model = AutoModelForSequenceClassification.from_pretrained(folder)
    else:
        options = {"num_labels": 1, "pad_token_id": tokenizer.pad_token_id}
        model = AutoModelForSequenceClassification.from_pretrained(folder, **options)
    assert model.dtype == torch.float32
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter)
    batch = tokenizer([text + tokenizer.eos_token for text in request["texts"]], padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model.eval()(**batch).logits
    if kind == "policy":
        chosen = logits[:, :-1].log_softmax(-1).gather(-1, batch.input_ids[:, 1:, None]).squeeze(-1)
        real = batch.attention_mask.bool()
        found[name] = [row[mask[1:] & mask[:-1]].tolist() for row, mask in zip(chosen, real)]
    else:
        found[name] = logits.squeeze(-1).tolist()
assert not [name for name in sys.modules if name.startswith("sandwiching")]
print(json.dumps(found))
"""


def read_plainly(folders: Mapping[str, tuple[str, Path, Path | None]], cwd: Path) -> dict[str, Any]:
    """Raw scores, or log-probs of all tokens but the first, of TEXTS; a folder is (policy or score, base, adapter)."""
    request = {"folders": folders, "texts": [f"{prompt} {response}".rstrip() for prompt, response in TEXTS]}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", PLAIN],
        input=json.dumps(request, default=str),
        cwd=cwd,
        env={**environment, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def encoded(folder: Path) -> tuple[list[list[int]], list[list[int]], int]:
    """Prompts and finished responses of TEXTS as every stage sees them, and the id of padding."""
    tokenizer = load_tokenizer(folder)
    rows = [encode(tokenizer, prompt, response, True, " ") for prompt, response in TEXTS]
    assert isinstance(tokenizer.pad_token_id, int)
    return [prompt for prompt, _ in rows], [response for _, response in rows], tokenizer.pad_token_id


@torch.no_grad()
def own_logprobs(model: torch.nn.Module, folder: Path) -> list[Tensor]:
    """Log-probs of the response tokens."""
    prompts, responses, pad = encoded(folder)
    prompt_BP, prompt_mask_BP = padded_left(prompts, pad)
    response_BT, mask_BT = padded_right(responses, pad)
    attention_BS = torch.cat([prompt_mask_BP, mask_BT], dim=1)
    tokens_BS = torch.cat([prompt_BP, response_BT], dim=1)
    logprobs_BT, _ = padded_logprobs(model.eval(), Texts(tokens_BS, attention_BS, mask_BT), 1.0)
    return [row[mask] for row, mask in zip(logprobs_BT, mask_BT, strict=True)]


@torch.no_grad()
def own_scores(folder: Path) -> Tensor:
    prompts, responses, pad = encoded(folder)
    texts = Packing.of(*padded_right([a + b for a, b in zip(prompts, responses, strict=True)], pad))
    return last_token_scores(load_score_model(folder, torch.float32).eval(), texts)


@pytest.fixture(scope="session")
def padded_by_eos(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as many models are published: their padding is their eos."""
    folder = tmp_path_factory.mktemp("models") / "padded_by_eos"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny), AutoTokenizer.from_pretrained(tiny)
    tokenizer.pad_token, model.config.pad_token_id = tokenizer.eos_token, tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def assert_close(found: Tensor, expected: Tensor) -> None:
    """Within 1e-4, or 1e-6 of a large one: a probe on a random trunk scores in hundreds."""
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-6)


def flat(rows: list[list[float]]) -> Tensor:
    return torch.tensor([value for row in rows for value in row])


@dataclass(frozen=True)
class Exported:
    """The folders of one way of training, and the calls that fill them."""

    lora: LoraConfig | None
    sft: StageFolder
    reward: StageFolder
    probe: StageFolder
    ppo: StageFolder
    calls: list[tuple[str, dict[str, Any]]]

    def to_read(self, start: Path) -> dict[str, tuple[str, Path, Path | None]]:
        """What read_plainly reads: all models, and all adapters on their bases."""
        found: dict[str, tuple[str, Path, Path | None]] = {"probe": ("score", self.probe.model, None)}
        base = self.sft.model
        parts = (("sft", "policy", self.sft, start), ("reward", "score", self.reward, base))
        for name, family, folder, below in (*parts, ("ppo", "policy", self.ppo, base)):
            found[name] = (family, folder.model, None)
            assert not (folder.model / "adapter_config.json").exists()
            assert folder.adapter.exists() == (self.lora is not None)
            if self.lora is not None:
                found[f"{name} adapter"] = (family, below, folder.adapter)
        return found


def trained_policy(way: Exported) -> torch.nn.Module:
    """The policy as PPO's learner had it in the end: the SFT model with the weights that it published last."""
    model = load_causal_lm(way.sft.model, torch.float32)
    published = load_file(way.ppo.snapshots / "step_2" / "weights.safetensors")
    spec = lora_spec(way.lora)
    if spec is None:
        model.load_state_dict(published, strict=False)
        return model
    policy = attach(model, spec, 0, "CAUSAL_LM")
    load_adapter_weights(policy, published)
    return policy


@pytest.fixture
def exported(
    padded_by_eos, run_stages, sft_arguments, reward_arguments, ppo_arguments_on, stage_folder
) -> dict[str, Exported]:
    """Full fine-tuning and LoRA through all stages that export, in one process."""
    ways: dict[str, Exported] = {}
    for kind, lora in (("full", None), ("lora", LORA)):
        sft, reward, probe, ppo = (stage_folder(f"{kind}_{name}") for name in ("sft", "reward", "probe", "ppo"))
        parents = {"sft": sft.path}
        calls = [
            (SFT, sft_arguments(sft)),
            (REWARD, reward_arguments(reward, reward={"kind": kind}, parents=parents)),
            (REWARD, reward_arguments(probe, reward={"kind": "probe"}, parents=parents)),
            ("__main__:ppo", ppo_arguments_on(sft, reward, ppo)),
        ]
        for _, arguments in calls:
            arguments["model"] = dataclasses.replace(arguments["model"], path=str(padded_by_eos), lora=lora)
        ways[kind] = Exported(lora, sft, reward, probe, ppo, calls)
    run_stages([call for way in ways.values() for call in way.calls])
    return ways


def test_exports_load_without_us_and_give_the_same_numbers(exported, padded_by_eos, tmp_path) -> None:
    folders = {"start": ("policy", padded_by_eos, None)}
    for kind, way in exported.items():
        folders |= {f"{kind} {name}": folder for name, folder in way.to_read(padded_by_eos).items()}
    found = read_plainly(folders, tmp_path)

    for kind, way in exported.items():
        own = {"sft": load_causal_lm(way.sft.model, torch.float32), "ppo": trained_policy(way)}
        for name, policy in own.items():
            for plain, expected in zip(found[f"{kind} {name}"], own_logprobs(policy, way.sft.model), strict=True):
                assert_close(torch.tensor(plain[-len(expected) :]), expected)
        for name, folder in (("reward", way.reward), ("probe", way.probe)):
            assert_close(torch.tensor(found[f"{kind} {name}"]), own_scores(folder.model))
            # The stages did train, or the numbers would agree whatever is exported.
            assert torch.tensor(found[f"{kind} {name}"]).std() > 1e-2
        for one, other in (("start", f"{kind} sft"), (f"{kind} sft", f"{kind} ppo")):
            assert (flat(found[one]) - flat(found[other])).abs().max() > 1e-2
    for name in ("sft", "ppo"):
        assert_close(flat(found[f"lora {name} adapter"]), flat(found[f"lora {name}"]))
    assert_close(torch.tensor(found["lora reward adapter"]), torch.tensor(found["lora reward"]))
