"""All state of a stage in one registry: what is not registered cannot be forgotten silently."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from transformers import set_seed


@runtime_checkable
class Stateful(Protocol):
    """Has state that a resume must restore; plain numbers, strings, lists, dicts and tensors only."""

    def state_dict(self) -> dict[str, Any]:
        """The state."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Back to `state`."""
        ...


class RandomState:
    """The process-wide random generators of python, numpy, torch and CUDA, seeded here: a new process (a Ray actor) has
    them from the operating system."""

    def __init__(self, seed: int) -> None:
        set_seed(seed)

    def state_dict(self) -> dict[str, Any]:
        """Every generator's state."""
        version, words, gauss = random.getstate()
        _, keys, position, has_gauss, cached = np.random.get_state()
        return {
            "python": [version, list(words), gauss],
            "numpy": [
                torch.from_numpy(np.asarray(keys).astype(np.int64)),
                int(position),
                int(has_gauss),
                float(cached),
            ],
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore every generator."""
        version, words, gauss = state["python"]
        random.setstate((version, tuple(words), gauss))
        keys, position, has_gauss, cached = state["numpy"]
        np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, has_gauss, cached))
        torch.set_rng_state(state["torch"])
        if state["cuda"]:
            torch.cuda.set_rng_state_all(state["cuda"])


class StateRegistry:
    """Named stateful objects, saved and loaded together."""

    def __init__(self) -> None:
        self.entries: dict[str, Stateful] = {}

    def register(self, owner: object) -> None:
        """Register every attribute of `owner` that has state; modules are left to the engines that shard them.

        Raises TypeError for a bare generator, whose state would be lost: hold it in an object with state_dict.
        """
        for name, value in vars(owner).items():
            if isinstance(value, torch.Generator | random.Random | np.random.Generator):
                raise TypeError(f"{type(owner).__name__}.{name} is a random generator that no checkpoint would hold")
            if isinstance(value, Stateful) and not isinstance(value, torch.nn.Module):
                self.entries[name] = value

    def save(self, file: Path) -> None:
        """Write all states to one file that `torch.load(weights_only=True)` reads."""
        torch.save(self.states(), file)

    def states(self) -> dict[str, dict[str, Any]]:
        """By name."""
        return {name: entry.state_dict() for name, entry in self.entries.items()}

    def load(self, file: Path) -> None:
        """Restore all states.

        Raises ValueError when the file's names are not the registered ones.
        """
        states = torch.load(file, weights_only=True)
        if states.keys() != self.entries.keys():
            raise ValueError(f"{file} holds the state of {sorted(states)}, this run has {sorted(self.entries)}")
        for name, entry in self.entries.items():
            entry.load_state_dict(states[name])
