"""A check record with known accuracies, as check.json would hold it."""

from collections.abc import Callable

import numpy as np
import pytest

ACCURACY = {"floor": 0.55, "weak": 0.62, "weak_reliable": 0.68, "ceiling": 0.8}
Record = dict


def _policy(rng, accuracy, items, shared):
    """Answers whose chance of being right depends on the item through `shared` [N]."""
    answers = {"responses": [], "finished": [], "correct": [], "logprobs": [], "approvals": []}
    for place in range(items):
        chance = np.clip(accuracy + shared[place], 0.02, 0.98)
        right = rng.random() < chance
        answers["responses"].append(["x"] * 4)
        answers["finished"].append([True] * 4)
        answers["correct"].append((rng.random(4) < chance - 0.1).tolist())
        answers["logprobs"].append([-1.0 if right else -5.0, -2.0, -3.0, -4.0])
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
