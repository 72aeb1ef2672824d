"""The block about sweeps, and the dimensions of its space. Importing this never imports torch."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sandwiching.configs.errors import ConfigError

KINDS = ("choice", "uniform", "loguniform", "int")
"""How a setting may be varied."""

METRICS = (
    *("sft/loss", "sft/gradient_norm"),
    *("reward_model/loss", "reward_model/accuracy", "reward_model/dev_accuracy", "reward_model/gradient_norm"),
    *("ppo/score", "ppo/score_with_eos_rule", "ppo/score_spread", "ppo/return", "ppo/kl", "ppo/kl_exact"),
    *("ppo/entropy_before", "ppo/entropy", "ppo/response_tokens", "ppo/finished", "ppo/policy_loss"),
    *("ppo/value_loss", "ppo/approx_kl", "ppo/clip_fraction"),
)
"""What a sweep may optimise: metrics that training itself sees, in arms that learn from weak raters."""


@dataclass(kw_only=True)
class SweepConfig:
    """Hyperparameter search over this config (`sandwich sweep`). Other commands ignore it; it enters no key."""

    space: dict[str, Any] = field(default_factory=dict)
    """Setting -> {choice: [...]}, {uniform: [low, high]}, {loguniform: [low, high]} or {int: [low, high]}."""
    metric: str = "ppo/score"
    """What is optimised, at the end of the stage that it names: mean over the weak arms and seeds."""
    mode: str = "max"
    """max or min."""
    trials: int | None = None
    """Trials in all; null: every point of the grid."""
    parallel: int = 1
    """Trials at once, each on `resources`."""
    search: str = "optuna"
    """optuna (its tree-structured Parzen estimator), random or grid."""
    scheduler: str = "asha"
    """asha ends poor trials early, by their metric after so many PPO steps (arXiv 1810.05934); none ends none."""
    grace: int = 1
    """PPO steps before asha may end a trial."""
    reduction_factor: int = 3
    """asha keeps one of so many trials at each rung; rungs are at grace x reduction_factor^k PPO steps."""
    seed: int = 0
    """Seed of the search."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """One setting that varies. values: the choices, or the two bounds."""

    key: str
    kind: str
    values: tuple[Any, ...]

    def points(self) -> Sequence[Any] | None:
        """All values, None where they are a continuum."""
        if self.kind == "int":
            return range(self.values[0], self.values[1] + 1)
        return self.values if self.kind == "choice" else None

    def __str__(self) -> str:
        shown = ", ".join(json.dumps(value) for value in self.values)
        return f"{self.key}: {self.kind} [{shown}]"


def parse_space(space: Mapping[str, Any]) -> list[Dimension]:
    """The dimensions, in order; keys may be dotted or nested, the later of two wins, and null removes a
    setting or a block of them.

    Raises ConfigError for what is no way to vary a setting.
    """
    found: dict[str, Dimension] = {}
    for key, value in _settings(space, ""):
        if value is None:
            found = {name: one for name, one in found.items() if name != key and not name.startswith(f"{key}.")}
        else:
            found.pop(key, None)
            found[key] = _dimension(key, value)
    if not found:
        raise ConfigError.at("sweep.space", "is empty", "name settings, as in {ppo.steps: {choice: [10, 20]}}")
    return list(found.values())


def grid(dimensions: Sequence[Dimension]) -> list[dict[str, Any]]:
    """Every point of a grid, the last dimension fastest. Raises ConfigError when a dimension is a continuum."""
    axes = []
    for dimension in dimensions:
        points = dimension.points()
        if points is None:
            problem = f"is {dimension.kind}, which is no grid"
            raise ConfigError.at(f"sweep.space: {dimension.key}", problem, "give a choice, or set sweep.search=random")
        axes.append(points)
    return [dict(zip([one.key for one in dimensions], point, strict=True)) for point in itertools.product(*axes)]


def number_of_trials(sweep: SweepConfig) -> int:
    """Trials in all."""
    return sweep.trials if sweep.trials is not None else len(grid(parse_space(sweep.space)))


def _settings(space: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    for name, value in space.items():
        key = f"{prefix}{name}"
        if value is None or (isinstance(value, Mapping) and any(kind in value for kind in KINDS)):
            yield key, value
        elif isinstance(value, Mapping) and value:
            yield from _settings(value, f"{key}.")
        else:
            remedy = "write {choice: [...]}, {uniform: [low, high]}, {loguniform: [low, high]} or {int: [low, high]}"
            raise ConfigError.at(f"sweep.space: {key}", f"is {value!r}", remedy)


def _dimension(key: str, value: Mapping[str, Any]) -> Dimension:
    place = f"sweep.space: {key}"
    if len(value) != 1:
        raise ConfigError.at(place, f"has {', '.join(value)}", f"keep one of {', '.join(KINDS)}")
    ((kind, values),) = value.items()
    if not isinstance(values, list) or not values:
        raise ConfigError.at(f"{place}.{kind}", f"is {values!r}", "give a list")
    if kind == "choice":
        texts = [json.dumps(choice, sort_keys=True) for choice in values]
        if len(set(texts)) < len(texts):
            raise ConfigError.at(place, "has a choice twice", "keep one of them")
        return Dimension(key, kind, tuple(values))
    types = (int,) if kind == "int" else (int, float)
    numbers = len(values) == 2 and all(isinstance(one, types) and not isinstance(one, bool) for one in values)
    if not numbers or not values[0] < values[1]:
        word = "whole numbers" if kind == "int" else "numbers"
        raise ConfigError.at(f"{place}.{kind}", f"is {values!r}", f"give two {word}, the lower one first")
    if kind == "loguniform" and values[0] <= 0:
        raise ConfigError.at(f"{place}.{kind}", f"is {values!r}", "give bounds above 0")
    return Dimension(key, kind, tuple(values) if kind == "int" else tuple(float(one) for one in values))
