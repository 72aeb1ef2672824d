"""The stage `monitor` in the graph: after the check, only where there is PPO, and never a reason to train again."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from sandwiching.configs.errors import ConfigError
from sandwiching.configs.load import load
from sandwiching.launch.graph import build_graph

ROW = {"prompt": "p", "response_a": "a", "response_b": "b", "preference": "a", "rater": "r", "tier": "weak"}
ROOT = Path(__file__).resolve().parents[2]


def stages(*overrides: str, config: str = "planted") -> list[str]:
    return [node.stage for node in build_graph(load(config, list(overrides))).nodes]


def test_it_watches_all_runs_of_the_check_after_it() -> None:
    graph = build_graph(load("planted"))
    (node,) = graph.of("monitor")
    assert node.slug == "monitor"
    assert node.parents["check"] is graph.of("check")[0]
    assert {f"judgements/{arm}/seed{seed}" for arm in ("biased", "ceiling") for seed in (0, 1)} <= node.parents.keys()
    assert graph.of("check")[0].parents.items() <= node.parents.items()
    assert [node.stage for batch in graph.batches() for node in batch][-2:] == ["monitor", "report"]


def test_it_is_in_the_demos_and_nowhere_without_ppo(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text(json.dumps(ROW) + "\n")
    assert stages(config="capitals").count("monitor") == 1
    assert "monitor" not in stages("monitor=null")
    assert "monitor" not in stages(config="phase")
    assert "monitor" not in stages(config="tiny")
    assert "monitor" not in stages("ppo=null", config="capitals")
    assert "monitor" not in stages("task={name: judgements}", f"data.judgements={file}", config="capitals")


def test_watching_changes_no_other_key() -> None:
    plain = {node.slug: node.key for node in build_graph(load("planted", ["monitor=null"])).nodes}
    watched = {node.slug: node.key for node in build_graph(load("planted", ["monitor.false_alarms=0.1"])).nodes}
    other = {node.slug: node.key for node in build_graph(load("planted")).nodes}
    assert watched.pop("monitor") != other["monitor"]
    assert watched.pop("report") != plain.pop("report"), "it shows them"
    assert watched == plain


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["check.curve_prompts=4"], "takes at least 19 samples .*curve_prompts=4 x check.samples=4 are 16: raise them"),
        (["monitor.false_alarms=0"], "monitor.false_alarms: is 0.* it must be at least 0.001 and at most 0.25"),
        (["monitor.false_alarm=0.1"], "monitor.false_alarm: is unknown; did you mean monitor.false_alarms?"),
    ],
)
def test_bad_settings_are_said(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load("planted", overrides)


def test_nothing_that_trains_imports_a_monitor() -> None:
    """The arrows forbid oversight to them (tests/test_layering.py); this says it of monitors, and of strings too."""
    below = ("training", "policy", "reward_model", "kernels", "tasks", "configs")
    files = [file for folder in below for file in (ROOT / folder).rglob("*.py")]
    assert len(files) > 100
    named = [
        file.name
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if (isinstance(node, ast.ImportFrom) and "monitors" in (node.module or ""))
        or (isinstance(node, ast.Import) and any("monitors" in alias.name for alias in node.names))
        or (isinstance(node, ast.Constant) and isinstance(node.value, str) and "oversight.monitors" in node.value)
    ]
    assert named == []


def test_no_monitor_imports_an_optimiser_or_a_trainer() -> None:
    names = {
        alias
        for file in (ROOT / "oversight" / "monitors").glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in (node.module or "", *(name.name for name in node.names))
    }
    assert not names & {"sandwiching.training.learner", "sandwiching.training.ppo", "sandwiching.training.in_memory"}
    assert not any("optim" in name or "deepspeed" in name for name in names)
