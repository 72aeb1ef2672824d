"""The sweep block: what a space may be, and what is refused before any trial."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sandwiching.configs.errors import ConfigError
from sandwiching.configs.load import load, to_yaml
from sandwiching.configs.resolve import with_settings
from sandwiching.configs.sweep_block import METRICS, Dimension, grid, number_of_trials, parse_space

ROOT = Path(__file__).resolve().parents[2]
CLEAR = [f"sweep.space.{key}=null" for key in ("ppo.optimizer.learning_rate", "ppo.kl.coefficient")]
EXPERT = ["check.split=dev", "sweep.scheduler=none"]


def refused(*overrides: str, config: str = "tiny_sweep") -> str:
    with pytest.raises(ConfigError) as raised:
        load(config, overrides)
    return str(raised.value)


def test_dotted_and_nested_keys_are_the_same_and_the_later_wins() -> None:
    dotted = {"ppo.kl.coefficient": {"choice": [1.0]}, "ppo.steps": {"int": [1, 3]}}
    assert parse_space({**dotted, "ppo": {"kl": {"coefficient": {"uniform": [0, 1]}}, "steps": None}}) == [
        Dimension("ppo.kl.coefficient", "uniform", (0.0, 1.0))
    ]


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({}, "is empty"),
        ({"ppo.steps": 3}, "is 3; write {choice"),
        ({"ppo.steps": {"choice": [1], "int": [1, 2]}}, "keep one of"),
        ({"ppo.steps": {"choice": []}}, "give a list"),
        ({"ppo.steps": {"choice": [1, 1]}}, "a choice twice"),
        ({"ppo.steps": {"int": [1.5, 2]}}, "give two whole numbers"),
        ({"ppo.steps": {"int": [3, 2]}}, "the lower one first"),
        ({"ppo.lam": {"uniform": [0.1]}}, "give two numbers"),
        ({"ppo.lam": {"uniform": [False, True]}}, "give two numbers"),
        ({"ppo.lam": {"loguniform": [0, 1]}}, "bounds above 0"),
    ],
)
def test_what_is_no_space(space: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        parse_space(space)


def test_a_grid_is_the_product() -> None:
    dimensions = parse_space({"ppo.steps": {"int": [1, 3]}, "seeds": {"choice": [[0], [1]]}})
    points = grid(dimensions)
    assert len(points) == 6
    assert points[:2] == [{"ppo.steps": 1, "seeds": [0]}, {"ppo.steps": 1, "seeds": [1]}]
    with pytest.raises(ConfigError, match="which is no grid"):
        grid(parse_space({"ppo.lam": {"uniform": [0, 1]}}))


def test_a_grid_needs_no_number_of_trials() -> None:
    only = "sweep.space={ppo.advantage: {choice: [gae, group]}, ppo.epochs: {int: [1, 3]}}"
    config = load("tiny_sweep", [*CLEAR, only, "sweep.search=grid", "sweep.trials=null"])
    assert config.sweep is not None
    assert number_of_trials(config.sweep) == 6
    assert "a grid has as many trials as points" in refused(*CLEAR, only, "sweep.search=grid")
    assert "sweep.search=random needs a number" in refused("sweep.search=random", "sweep.trials=null")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["sweep.space.ppo.learning_rate={choice: [1.0]}"], "did you mean ppo.optimizer.learning_rate?"),
        (["sweep.space.ppo.stepz={int: [1, 2]}"], "did you mean ppo.steps?"),
        (["sweep.space.ppo.lam={uniform: [0.5, 1.5]}"], "ppo.lam: is 1.5; it must be at least 0 and at most 1"),
        (["sweep.space.ppo.lam={uniform: [-1, 1]}"], "ppo.lam: is -1.0"),
        (["sweep.space.ppo.epochs={uniform: [1, 3]}"], "does not fit"),
        (["sweep.space.ppo.advantage={choice: [gae, gea]}"], "'gea' is unknown"),
        (["sweep.space.ppo.advantage={int: [1, 2]}"], "is unknown"),
        (["sweep.space.ppo.kl={choice: [null]}"], "ppo.kl"),
        (["sweep.space.name={choice: [a, b]}"], "names the run; remove it"),
        (["sweep.space.sweep.seed={int: [1, 2]}"], "is the sweep itself; remove it"),
        (["sweep.space.check.samples={int: [1, 2]}"], "which no trial does"),
        (["sweep.space.resources.micro_batch={int: [1, 2]}"], "changes no result"),
        (["sweep.space.arms.weak.tier={choice: [weak, expert]}"], "expert metric"),
        (["sweep.space.arms.weka.ppo.lam={uniform: [0, 1]}"], "did you mean arms.weak?"),
        (["sweep.space.model.lora.rank={int: [1, 2]}", "model.lora=null"], "model.lora is null here"),
        (["sweep.metric=ppo/scor"], "did you mean ppo/score?"),
        (["sweep.metric=check/gain", *EXPERT], "as check/ARM/MEASURE of an arm of tier weak, as in check/weak/forced"),
        (["sweep.metric=check/ceiling/free", *EXPERT, "arms.ceiling={tier: expert}"], "of an arm of tier weak"),
        (["sweep.metric=check/weak/free", "sweep.scheduler=none"], "set check.split=dev"),
        (["sweep.metric=check/weak/free", "check.split=dev"], "set sweep.scheduler=none"),
        (["sweep.metric=check/weak/free", *EXPERT, "check.looks=11"], "sweep.trials=12 is a look, and check.looks=11"),
        (["sweep.metric=check/weak/agreement", *EXPERT], "as in check/weak/forced"),
        (["sweep.space.conditions.max_kl={choice: [1.0]}"], "changes no result"),
        (["sweep.metric=reward_model/accuracy"], "set sweep.scheduler=none"),
        (["sweep.metric=sft/loss", "sft=null"], "sft=null"),
        (["arms.weak.tier=expert", "check.ceiling=weak"], "is no objective"),
        (["sweep.grace=4"], "leaves asha nothing to end"),
        (["ppo.samples_per_prompt=1"], "ppo.advantage=leave_one_out compares responses"),
    ],
)
def test_what_is_refused(overrides: list[str], said: str) -> None:
    assert said in refused(*overrides)


@pytest.mark.parametrize(
    "override",
    [
        "sweep.space.seeds={choice: [[0], [1, 2]]}",
        "sweep.space.task.competence={uniform: [0.1, 0.6]}",
        "sweep.space.arms.weak.ppo.kl.coefficient={loguniform: [0.001, 1]}",
        "sweep.space.arms.weak.task.misconception={choice: [0.0, 0.8]}",
        "sweep.space.reward_model.members={int: [1, 3]}",
        "sweep.space.ppo.ema_decay={choice: [null, 0.9]}",
        "sweep.space.ppo.lam={int: [0, 1]}",
    ],
)
def test_what_may_vary(override: str) -> None:
    load("tiny_sweep", [override])


def test_an_expert_result_on_dev_may_be_chosen_by() -> None:
    load("tiny_sweep", ["sweep.metric=check/weak/free", *EXPERT, "check.looks=12"])


def test_settings_reach_arms_and_the_sweep_is_left_out() -> None:
    config = load("tiny_sweep")
    changed = with_settings(config, {"arms.weak.ppo.kl.coefficient": 0.5, "seeds": [3]}, "here")
    assert changed.arms["weak"].overrides == {"ppo": {"kl": {"coefficient": 0.5}}}
    assert changed.seeds == [3]
    assert changed.sweep is None
    assert config.sweep is not None
    assert config.seeds == [0]


def test_a_config_with_a_sweep_survives_yaml(tmp_path: Path) -> None:
    config = load("tiny_sweep")
    (tmp_path / "x.yaml").write_text(to_yaml(config))
    assert load(tmp_path / "x.yaml") == config


def test_metrics_are_those_of_the_docs() -> None:
    documented = set(re.findall(r"`((?:sft|reward_model|ppo)/\w+)`", (ROOT / "docs" / "metrics.md").read_text()))
    assert set(METRICS) <= documented
