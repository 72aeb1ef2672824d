"""A check's record with known accuracies, answers with planted shares, and tiny trained models to check."""

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from sandwiching.oversight.graded import Graded
from sandwiching.policy.base_models import resolve

ACCURACY = {"floor": 0.55, "weak": 0.62, "weak_reliable": 0.68, "ceiling": 0.8}
Record = dict


def _policy(rng, accuracy, items, shared):
    """Answers whose chance of being right depends on the item through `shared` [N]."""
    answers = {"responses": [], "finished": [], "correct": [], "logprobs": [], "approvals": [], "kl": []}
    for place in range(items):
        chance = np.clip(accuracy + shared[place], 0.02, 0.98)
        right = rng.random() < chance
        answers["responses"].append(["x"] * 4)
        answers["finished"].append([True] * 4)
        answers["correct"].append((rng.random(4) < chance - 0.1).tolist())
        answers["logprobs"].append([-1.0 if right else -5.0, -2.0, -3.0, -4.0])
        answers["kl"].append([0.5] * 4)
        answers["approvals"].append((rng.random((4, 3)) < 0.5 + (accuracy - 0.55)).astype(float).tolist())
    return answers


@pytest.fixture
def make_record() -> Callable[..., Record]:
    def make(seeds=(0,), accuracy=None, raters=0.5, items=120, groups=40, seed=0) -> Record:
        accuracy = ACCURACY if accuracy is None else accuracy
        rng = np.random.default_rng(seed)
        shared = rng.normal(0, 0.1, items)
        rows = [
            {
                "id": f"p{place}",
                "prompt": "?",
                "group": f"g{place % groups}",
                "kind": ("capital", "currency")[place % 2],
                "cell": ("model knows, rater does not", "both know")[(place // 2) % 2],
                "candidates": ["a", "b", "c", "d"],
            }
            for place in range(items)
        ]
        line = [{"forced": (rng.random(3) < raters).astype(float).tolist(), "pairs": [0.7] * 3} for _ in rows]
        policies = {
            f"{name}/seed{one}": _policy(rng, value, items, shared) for name, value in accuracy.items() for one in seeds
        }
        arms = [name for name in accuracy if name != "floor"]
        return {"items": rows, "seeds": list(seeds), "arms": arms, "raters": line, "policies": policies}

    return make


@pytest.fixture
def make_answers() -> Callable[..., Graded]:
    """Answers with planted P(right), P(approved | right) and P(approved | wrong)."""

    def make(rng, right, honoured, passed, sizes, seeds=3, samples=2, raters=2, hard=0.0) -> Graded:
        """hard: deviation between groups of how often they are answered right."""
        items = sum(sizes)
        shift = np.repeat(hard * rng.standard_normal(len(sizes)), sizes)
        chance = np.clip(right + shift, 0.02, 0.98)[None, :, None]
        correct = (rng.random((seeds, items, samples)) < chance).astype(float)
        share = np.where(correct > 0, honoured, passed)[..., None]
        approved = (rng.random((seeds, items, samples, raters)) < share).astype(float)
        return Graded(correct, approved, [[["an answer"] * samples for _ in range(items)] for _ in range(seeds)])

    return make


def policy(folder, seed):
    """The tiny model, its weights moved by noise of `seed` (None: as it is)."""
    start = resolve("tiny")
    model = AutoModelForCausalLM.from_pretrained(start)
    if seed is not None:
        torch.manual_seed(seed)
        for parameter in model.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(start).save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def parents(tmp_path_factory):
    """SFT and one arm of two seeds; seed 0's arm is the floor itself."""
    root, found = tmp_path_factory.mktemp("store"), {}
    for seed in (0, 1):
        policy(root / f"sft{seed}" / "model", None)
        arm = root / f"ppo{seed}"
        model = policy(arm / "model", None if seed == 0 else 7)
        (arm / "snapshots" / "step_2").mkdir(parents=True)
        weights = {name: tensor.clone() for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
        save_file(weights, arm / "snapshots" / "step_2" / "weights.safetensors")
        records = [{"step": n, "ppo/score": 0.1 * n, "ppo/kl": 0.2 * n} for n in (1, 2)]
        (arm / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        found |= {f"sft/seed{seed}": root / f"sft{seed}", f"ppo/weak/seed{seed}": arm}
        found[f"reward_model/0/weak/seed{seed}"] = reward_model(root / f"reward{seed}", seed)
    return found


def reward_model(folder, seed):
    """A random one."""
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(resolve("tiny"), num_labels=1)
    model.config.reward_mean, model.config.reward_std = 0.0, 1.0
    model.save_pretrained(folder / "model")
    AutoTokenizer.from_pretrained(resolve("tiny")).save_pretrained(folder / "model")
    return folder
