"""What can be wrong with a sweep: its settings against the config that it varies."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from sandwiching.configs.errors import ConfigError
from sandwiching.configs.fields import block_of, describe, type_at
from sandwiching.configs.resolve import with_settings
from sandwiching.configs.schema import Config, SweepConfig
from sandwiching.configs.structure import plain
from sandwiching.configs.sweep_block import METRICS, Dimension, grid, parse_space

EXPERT_METRICS = ("forced", "free")
REWARD_METRICS = ("agreement",)
"""What a sweep may choose by that comes from experts or gold: of policies; of reward models where those are checked."""
FIXED = {
    "name": "names the run",
    "sweep": "is the sweep itself",
    "check": "decides how policies are checked, which no trial does",
    "monitor": "watches policies, and changes no result",
    "conditions": "declares what is claimed, and changes no result",
    "resources": "changes no result",
    "tracking": "changes no result",
    "slurm": "changes no result",
    "ray": "changes no result",
}
"""Blocks that no trial can have otherwise, and why."""
MOST_POINTS = 256
"""Points of a grid that are checked one by one; of a larger one, each choice alone."""


def sweep_problems(config: Config) -> list[str]:
    """What is wrong with the sweep of a config that is right otherwise, a line each."""
    sweep = config.sweep
    if sweep is None:
        return []
    found = [*_metric_problems(config, sweep)]
    try:
        dimensions = parse_space(sweep.space)
        found += [problem for one in dimensions for problem in _dimension_problems(config, one)]
        found += [] if found else [*_points_problems(config, sweep, dimensions)]
    except ConfigError as error:
        found.append(str(error))
    return found


def objective_arms(config: Config) -> list[str]:
    """Arms that the objective is the mean over: what an expert arm's reward model says comes from experts."""
    return [name for name, arm in config.arms.items() if arm.tier == "weak"]


def _metric_problems(config: Config, sweep: SweepConfig) -> Iterator[str]:
    place, stage = f"sweep.metric={sweep.metric}", sweep.metric.partition("/")[0]
    if is_expert_metric(sweep.metric):
        yield from _expert_problems(config, sweep)
    elif sweep.metric not in METRICS:
        close = difflib.get_close_matches(sweep.metric, METRICS, n=1)
        yield f"{place} is unknown; " + (f"did you mean {close[0]}?" if close else f"use one of {', '.join(METRICS)}")
        return
    if (stage == "ppo" and config.ppo is None) or (stage == "sft" and config.sft is None):
        yield f"{place} is measured in stage {stage}, but {stage}=null; give that block, or use another metric"
    if not objective_arms(config):
        yield (
            f"{place} is the mean over arms of tier weak, of which there is none: what comes from expert judgements is "
            "no objective; add an arm with tier: weak"
        )
    if sweep.scheduler == "asha" and stage != "ppo":
        yield f"{place}: asha compares trials by their PPO steps; set sweep.scheduler=none"
    if sweep.search == "grid" and sweep.trials is not None:
        yield f"sweep.trials={sweep.trials}, but a grid has as many trials as points; set sweep.trials=null"
    if sweep.search != "grid" and sweep.trials is None:
        yield f"sweep.trials: sweep.search={sweep.search} needs a number; set sweep.trials=20, say"


def is_expert_metric(metric: str) -> bool:
    """Whether it is computed from experts' judgements or gold."""
    return metric.partition("/")[0] == "check"


def _expert_problems(config: Config, sweep: SweepConfig) -> Iterator[str]:
    """Of an objective that each trial looks at the experts for."""
    place, parts = f"sweep.metric={sweep.metric}", sweep.metric.split("/")
    weak = objective_arms(config)
    measures = REWARD_METRICS if config.ppo is None or config.task.name == "judgements" else EXPERT_METRICS
    if len(parts) != 3 or parts[1] not in weak or parts[2] not in measures:
        good = f"check/{weak[0] if weak else 'ARM'}/{measures[0]}"
        yield f"{place}: what comes from experts is chosen by as check/ARM/MEASURE of an arm of tier weak, as in {good}"
    if config.check.split != "dev":
        yield (
            f"{place} would choose by the final split, on which nothing could be claimed any more; set "
            "check.split=dev, and check the best trial on final afterwards"
        )
    looks, trials = config.check.looks, sweep.trials
    if looks is not None and trials is not None and trials > looks:
        yield f"{place}: each of sweep.trials={trials} is a look, and check.looks={looks}; lower sweep.trials"


def _dimension_problems(config: Config, dimension: Dimension) -> Iterator[str]:
    """Of one setting, each value alone."""
    key, place = dimension.key, f"sweep.space: {dimension.key}"
    first, *rest = key.split(".")
    if first in FIXED:
        yield f"{place} {FIXED[first]}; remove it"
        return
    if first == "arms" and rest[:1] and rest[0] not in config.arms:
        close = difflib.get_close_matches(rest[0], config.arms, n=1) or list(config.arms)
        yield f"{place}: there is no arm {rest[0]}; did you mean arms.{close[0]}?"
        return
    if first == "arms" and rest[-1:] == ["tier"]:
        yield f"{place} would make an expert arm of a weak one, and an expert metric of the objective; remove it"
        return
    null = _null_above(config, key)
    if null is not None:
        yield f"{place}: {null} is null here; give it a block, or remove {key}"
        return
    for value in dimension.values:
        try:
            with_settings(config, {key: value}, f"sweep.space: {key}={value}")
        except ConfigError as error:
            # Relations between settings may hold only when others vary too: _points_problems looks at those.
            if dimension.kind != "choice" or not _is_setting(config, key):
                yield str(error)
                return
    yield from _type_problems(config, dimension)


def _is_setting(config: Config, key: str) -> bool:
    """Whether a dotted key leads to one setting, and not to a block or nowhere."""
    try:
        kind = _type_of(config, key)
    except (KeyError, TypeError):
        return False
    return block_of(kind) is None


def _type_problems(config: Config, dimension: Dimension) -> Iterator[str]:
    place, kind = f"sweep.space: {dimension.key}", _type_of(config, dimension.key)
    types = get_args(kind) or (kind,)
    if block_of(kind) is not None or (dimension.key.count(".") == 0 and dimension.key != "seeds"):
        yield f"{place} is a block; name one setting of it"
    elif dimension.kind in ("uniform", "loguniform") and float not in types:
        yield f"{place} is {describe(kind)}, which {dimension.kind} does not give; use choice, or int"
    elif dimension.kind == "int" and int not in types and float not in types:
        yield f"{place} is {describe(kind)}, which int does not give; use choice"


def _points_problems(config: Config, sweep: SweepConfig, dimensions: Sequence[Dimension]) -> Iterator[str]:
    """Of points: those of a grid that is not too large, else each value with the first ones of the others."""
    points = grid(dimensions) if sweep.search == "grid" else []
    if not points or len(points) > MOST_POINTS:
        first = {one.key: one.values[0] for one in dimensions}
        points = [{**first, one.key: value} for one in dimensions for value in one.values]
    for point in points:
        said = ", ".join(f"{key}={value}" for key, value in point.items())
        trial = with_settings(config, point, f"sweep.space ({said})")
        if sweep.scheduler == "asha" and trial.ppo is not None and sweep.grace >= trial.ppo.steps:
            yield (
                f"sweep.grace={sweep.grace} leaves asha nothing to end before ppo.steps={trial.ppo.steps}; "
                "lower it, or set sweep.scheduler=none"
            )
            return


def _type_of(config: Config, key: str) -> Any:
    parts = key.split(".")
    return type_at(".".join(parts[2:] if parts[0] == "arms" else parts), type(config.task))


def _null_above(config: Config, key: str) -> str | None:
    """The first block on the way to `key` that is null in the config."""
    place: Any = plain(config)
    parts = key.split(".")
    for i, part in enumerate(parts[:-1]):
        if part not in place:
            return None
        place = place[part]
        if place is None:
            return ".".join(parts[: i + 1])
    return None
