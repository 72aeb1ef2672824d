"""The classifier that tells training prompts from held-out ones."""

import numpy as np
import pytest

from sandwiching.oversight.shift import area_under_curve, prompt_shift
from sandwiching.tasks.records import Prompt

WORDS = ["river", "bank", "opens", "early", "when", "rain", "falls", "over", "green", "hills", "small", "boats", "wait"]


def prompts(rng: np.random.Generator, count: int, length: int, name: str) -> list[Prompt]:
    return [
        Prompt(f"{name}{at}", " ".join(rng.choice(WORDS, rng.poisson(length) + 1)), f"{name}{at // 3}", "")
        for at in range(count)
    ]


def test_area_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(0)
    scores, positive = rng.integers(0, 6, 40).astype(float), rng.random(40) < 0.4
    pairs = [(one > other) + (one == other) / 2 for one in scores[positive] for other in scores[~positive]]
    assert area_under_curve(scores, positive) == pytest.approx(np.mean(pairs))


def test_one_distribution_is_not_told_apart() -> None:
    rng = np.random.default_rng(1)
    found = prompt_shift(prompts(rng, 150, 12, "a"), prompts(rng, 150, 12, "b"))
    assert found is not None
    assert found.low < 0.5 < found.high


def test_longer_prompts_are() -> None:
    rng = np.random.default_rng(2)
    found = prompt_shift(prompts(rng, 150, 12, "a"), prompts(rng, 150, 20, "b"))
    assert found is not None
    assert found.low > 0.75


def test_names_within_groups_are_no_shift() -> None:
    """Each group has a name of its own in all of its prompts, as countries have."""
    rng = np.random.default_rng(3)

    def side(letter: str) -> list[Prompt]:
        names = ["".join(rng.choice(list("bcdfgklmnprst"), 6)) for _ in range(60)]
        return [
            Prompt(f"{letter}{at}", f"what is the capital of {name}", name, "") for at, name in enumerate(names * 3)
        ]

    found = prompt_shift(side("a"), side("b"))
    assert found is not None
    assert found.low < 0.5 < found.high


def test_too_few_groups_say_nothing() -> None:
    rng = np.random.default_rng(4)
    assert prompt_shift(prompts(rng, 6, 12, "a"), prompts(rng, 60, 12, "b")) is None
