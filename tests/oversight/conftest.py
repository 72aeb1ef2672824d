"""A check record with known accuracies, as check.json would hold it."""

from collections.abc import Callable

import numpy as np
import pytest

from sandwiching.oversight.graded import Graded

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
