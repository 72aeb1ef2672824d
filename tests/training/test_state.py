"""The registry of state."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from sandwiching.training.prompts import PromptQueue
from sandwiching.training.state import RandomState, StateRegistry


class Loop:
    def __init__(self) -> None:
        self.prompts = PromptQueue(["a", "b", "c"], [[1], [2], [3]], seed=0)
        self.random = RandomState(0)
        self.registry = StateRegistry()
        self.registry.register(self)


def draws() -> tuple:
    return random.random(), float(np.random.rand()), torch.rand(2).tolist()


def test_everything_comes_back(tmp_path: Path) -> None:
    loop = Loop()
    loop.prompts.consume(2)
    loop.registry.save(tmp_path / "loop.pt")
    expected = draws()
    other = Loop()
    draws()
    other.registry.load(tmp_path / "loop.pt")
    assert draws() == expected
    assert other.prompts.consumed == 2


def test_a_bare_generator_cannot_be_forgotten() -> None:
    loop = Loop()
    vars(loop)["generator"] = torch.Generator()
    with pytest.raises(TypeError, match=r"Loop\.generator"):
        loop.registry.register(loop)


def test_state_of_another_loop_is_refused(tmp_path: Path) -> None:
    loop = Loop()
    loop.registry.save(tmp_path / "loop.pt")
    del loop.registry.entries["prompts"]
    with pytest.raises(ValueError, match="holds the state of"):
        loop.registry.load(tmp_path / "loop.pt")


def test_modules_are_left_to_their_engines(tmp_path: Path) -> None:
    class Owner:
        def __init__(self) -> None:
            self.module = torch.nn.Linear(2, 2)
            self.random = RandomState(0)

    registry = StateRegistry()
    registry.register(Owner())
    assert list(registry.states()) == ["random"]
