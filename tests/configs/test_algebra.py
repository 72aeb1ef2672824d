"""The spelled-out batch algebra is arithmetic that holds."""

from __future__ import annotations

import math
import re

import pytest

from sandwiching.configs.algebra import batch_algebra, scoring_passes
from sandwiching.configs.layers import shipped_configs
from sandwiching.configs.load import load


def equations(line: str) -> list[tuple[int, int]]:
    """Both sides of every equation in a line, multiplied out."""
    found = []
    for part in re.split(r"; ", line.partition(": ")[2]):
        sides = part.split(" = ")
        if len(sides) == 2:
            left, right = (math.prod(int(number) for number in re.findall(r"\d+", side)) for side in sides)
            found.append((left, right))
    return found


@pytest.mark.parametrize("name", sorted(shipped_configs()))
def test_equations_hold(name: str) -> None:
    overrides = ["data.judgements=x"] if name in ("arguments", "llm_answers", "tldr_pythia_1b") else []
    lines = batch_algebra(load(name, overrides))
    for line in lines:
        for left, right in equations(line):
            assert left == right, line


def test_ppo_line_has_the_numbers_of_the_config() -> None:
    lines = batch_algebra(
        load(
            "capitals",
            ["ppo.batch_size=96", "ppo.samples_per_prompt=3", "ppo.minibatches=2", "resources.micro_batch=8"],
        )
    )
    assert "ppo: 96 responses a step = 32 prompts x 3 samples" in lines
    assert any(line.startswith("ppo: a minibatch of 48 = 1 ranks x 48 responses; at most 8 of") for line in lines)


@pytest.mark.parametrize(
    ("settings", "passes", "words"),
    [
        (("probe", 5, "bf16"), 1, "one trunk in memory with a head each; forward passes a response: 1, about the time"),
        (
            ("lora", 5, "fp32"),
            5,
            "one trunk in memory with an adapter each; forward passes a response: 5, about 5 times",
        ),
        (("lora", 2, "bf16"), 2, "a whole model in memory each; forward passes a response: 2, about 2 times the time"),
        (("full", 3, "fp32"), 3, "a whole model in memory each; forward passes a response: 3, about 3 times the time"),
        (("lora", 1, "fp32"), 1, "1 reward model; forward passes a response: 1"),
    ],
)
def test_what_an_ensemble_costs_is_said(settings: tuple[str, int, str], passes: int, words: str) -> None:
    kind, members, precision = settings
    blocks = [f"reward_model.kind={kind}", f"reward_model.members={members}", f"model.precision={precision}"]
    config = load("capitals", blocks)
    assert scoring_passes(config.reward_model) == passes
    assert any(words in line for line in batch_algebra(config))
