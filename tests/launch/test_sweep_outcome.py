"""What a sweep tells at its end: the table, the best config, a line a trial, plots."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from sandwiching.configs.load import load
from sandwiching.configs.schema import Config
from sandwiching.launch.sweep.outcome import ended_line, make_outcome, ranked, short_names, show_outcome, write_outcome
from sandwiching.launch.sweep.plots import write_plots
from sandwiching.launch.sweep.trials import TrialRecord
from sandwiching.training.artifacts import Store

LR, KL, ADVANTAGE = "ppo.optimizer.learning_rate", "ppo.kl.coefficient", "ppo.advantage"


def config_of(*overrides: str) -> Config:
    return load("tiny_sweep", overrides)


def records(count: int = 6) -> list[TrialRecord]:
    """Finished trials whose value depends on the first param; the last two were ended early, one failed."""
    made = []
    for i in range(count):
        params = {LR: 10.0 ** (-3 + i / 4), KL: [0.0, 0.05, 0.2][i % 3], ADVANTAGE: ["gae", "group"][i % 2]}
        results = {step: i * 0.1 * step for step in range(1, 5)}
        made.append(TrialRecord(i, params, "done", results=results, value=results[4], seconds=10.0 + i, ended=1.0))
    made[-2] = replace(made[-2], state="pruned", results={1: 9.0, 2: 9.0}, value=9.0)
    failed = replace(made[-1], state="failed", results={}, value=None, failures=1, error="it broke [so]")
    return [*made[:-1], failed]


def shown(outcome: Any) -> str:
    stream = io.StringIO()
    show_outcome(outcome, Console(file=stream, width=200))
    return stream.getvalue()


def test_the_table_is_sorted_and_has_errors_and_the_best_config(tmp_path: Path) -> None:
    outcome = write_outcome(config_of(), records(), tmp_path, Store(tmp_path / "store"))
    assert [record.number for record in outcome.trials] == [3, 2, 1, 0, 4, 5]
    text = shown(outcome)
    assert [line.split()[:2] for line in text.splitlines()[1:7]] == [
        ["3", "done"], ["2", "done"], ["1", "done"], ["0", "done"], ["4", "pruned"], ["5", "failed"],
    ]  # fmt: skip
    assert "learning_rate" in text.splitlines()[0]
    assert "trial 5: it broke [so]" in text
    best = load(tmp_path / "best.yaml")
    assert best.ppo is not None
    assert (best.ppo.kl.coefficient, best.name, best.sweep) == (0.0, "tiny_sweep-best", None)
    written = json.loads((tmp_path / "sweep.json").read_text())
    assert written["best"] == 3
    assert written == json.loads(json.dumps(outcome.as_json()))


def test_low_is_best_where_the_mode_says_so() -> None:
    assert [record.number for record in ranked(records(), "min")] == [0, 1, 2, 3, 4, 5]


def test_what_asha_ended_is_never_best(tmp_path: Path) -> None:
    outcome = make_outcome(config_of(), [replace(record, state="pruned") for record in records(2)[:1]], tmp_path)
    assert (outcome.best, outcome.best_config) == (None, None)


def test_names_of_columns_tell_settings_apart() -> None:
    assert short_names(["ppo.optimizer.learning_rate", "sft.optimizer.learning_rate", "ppo.steps"]) == {
        "ppo.optimizer.learning_rate": "ppo.optimizer.learning_rate",
        "sft.optimizer.learning_rate": "sft.optimizer.learning_rate",
        "ppo.steps": "steps",
    }


def test_a_line_for_a_trial_that_ended() -> None:
    sweep = config_of().sweep
    assert sweep is not None
    assert ended_line(records()[1], sweep).startswith(
        "trial 1  done  ppo/score 0.4  11 s  ppo.optimizer.learning_rate="
    )
    assert ended_line(records()[-1], sweep).endswith("it broke [so]")


def plots_of(made: Sequence[TrialRecord], folder: Path) -> tuple[set[str], list[str]]:
    sweep = config_of().sweep
    assert sweep is not None
    files, notes = write_plots(made, sweep, folder)
    assert all("</svg>" in file.read_text() for file in files)
    return {file.stem for file in files}, notes


def test_plots_are_written_or_a_line_says_why_not(tmp_path: Path) -> None:
    drawn, notes = plots_of(records(), tmp_path)
    assert drawn == {"history", "slice", "parallel_coordinate", "importances", "steps"}
    assert notes == []
    drawn, notes = plots_of(records()[:1], tmp_path / "one")
    assert drawn == {"history", "slice", "parallel_coordinate", "steps"}
    assert notes == ["no plot of importances: one finished trial says nothing of what matters"]
    equal = [replace(record, value=1.0, results={}) for record in records()[:3]]
    drawn, notes = plots_of(equal, tmp_path / "equal")
    assert drawn == {"history", "slice", "parallel_coordinate"}
    assert len(notes) == 2
