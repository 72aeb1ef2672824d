"""The gate as a stage: what it writes, and when it stops the run."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from sandwiching.configs.schema import GateConfig, ResourcesConfig
from sandwiching.launch.failures import ExitCode, explain
from sandwiching.launch.local import LocalRoles
from sandwiching.tasks.readers import write_judgements
from sandwiching.tasks.records import Judgement
from sandwiching.training.artifacts import StoppedByGate, Store
from sandwiching.training.gate import check_signal


def judgements(skill: float, copied: float = 0.0) -> list[Judgement]:
    """Ten raters of one skill, four on each of 120 pairs; in a share of pairs all rate as one."""
    draw = random.Random(0)
    rows = []
    for pair in range(120):
        shared = [draw.randint(1, 7), draw.randint(1, 7)] if draw.random() < copied else None
        for rater in draw.sample(range(10), 4):
            scores = shared or [draw.randint(1, 7), draw.randint(1, 7)]
            preference = "a" if draw.random() < skill else "b"
            rows.append(
                Judgement(
                    prompt=f"question {pair}",
                    response_a="yes",
                    response_b="no",
                    preference=preference if pair % 2 else {"a": "b", "b": "a"}[preference],  # pyright: ignore
                    rater=f"rater {rater}",
                    tier="weak",
                    score_a=float(scores[0]),
                    score_b=float(scores[1]),
                )
            )
    return rows


def run(tmp_path: Path, rows: list[Judgement], gate: GateConfig) -> tuple[dict[str, float], Path]:
    parent = tmp_path / "judgements"
    parent.mkdir()
    write_judgements(parent / "judgements.jsonl.gz", rows)
    resources = ResourcesConfig()
    with Store(tmp_path / "store").claim("gate", "0" * 16, print, lambda: None) as folder:
        metrics = check_signal(
            gate=gate,
            seed=0,
            resources=resources,
            parents={"judgements": parent},
            folder=folder,
            roles=LocalRoles(resources),
        )
        return metrics, folder.path


def test_yes(tmp_path: Path) -> None:
    metrics, folder = run(tmp_path, judgements(0.85), GateConfig(on_no="stop", on_duplicates="stop"))
    assert metrics["gate/yes"] == 1
    assert metrics["gate/permutation_p"] == 0.005
    record = json.loads((folder / "gate.json").read_text())
    assert record["verdict"] == "YES"
    assert record["split_half"]["agreement"] == metrics["gate/split_half"]
    assert (folder / "gate.txt").read_text().startswith("YES: The raters agree more than chance explains")


def test_no_warns_or_stops_with_exit_code_3(tmp_path: Path) -> None:
    metrics, _ = run(tmp_path, judgements(0.5), GateConfig())
    assert metrics["gate/yes"] == 0
    (tmp_path / "again").mkdir()
    with pytest.raises(StoppedByGate) as caught:
        run(tmp_path / "again", judgements(0.5), GateConfig(on_no="stop"))
    code, message = explain(caught.value)
    assert code == ExitCode.NEEDS_PEOPLE == 3
    assert "verdict NO" in message
    assert "gate.on_no=warn" in message


def test_copied_ratings_stop_by_a_setting_of_their_own(tmp_path: Path) -> None:
    with pytest.raises(StoppedByGate, match=r"verdict DUPLICATES.*gate.on_duplicates=warn"):
        run(tmp_path, judgements(0.85, copied=0.5), GateConfig(on_duplicates="stop"))
