"""Sweeps by an expert result: looks for all trials, and a winner that is corrected for having been chosen."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from sandwiching.configs.load import load
from sandwiching.configs.schema import Config
from sandwiching.launch.graph import build_graph
from sandwiching.launch.sweep.expert import expert_outcome, require_looks
from sandwiching.launch.sweep.objective import trial_graph
from sandwiching.launch.sweep.outcome import show_outcome, write_outcome
from sandwiching.launch.sweep.trials import TrialRecord
from sandwiching.oversight.expert_store import Look, make_or_open, place_of, write_standing
from sandwiching.oversight.item_records import RECORD, SEALED, ItemRecords, item_records
from sandwiching.training.artifacts import Store

METRIC = "check/weak/free"


def config(*overrides: str) -> Config:
    return load("tiny_sweep", [f"sweep.metric={METRIC}", "check.split=dev", "sweep.scheduler=none", *overrides])


def look(name: str) -> Look:
    return Look(name, "sweep", "dev", "check", {}, 1)


def checked(store: Store, name: str, share: float, rng: np.random.Generator) -> None:
    """A check's artifact with one arm that is right so often on 40 items of 20 groups."""
    folder = store.root / name
    folder.mkdir(parents=True)
    answers = {
        "correct": (rng.random((40, 4)) < share).tolist(),
        "logprobs": [[-1.0, -2.0]] * 40,
        "approvals": [[0.5]] * 40,
        "kl": [[0.1]] * 40,
    }
    items = [{"group": f"g{at // 2}", "kind": "k", "cell": "c", "candidates": ["a", "b"]} for at in range(40)]
    record = {
        "items": items,
        "raters": [{"forced": [1.0], "pairs": [1.0]}] * 40,
        "policies": {"weak/seed0": answers, "floor/seed0": answers},
    }
    expert = make_or_open(place_of(None, store.root), None, config().data.splits.salt)
    sealed = {RECORD: ItemRecords(expert.items(name), folder).write(RECORD, record)}
    (folder / "check.json").write_text(json.dumps({"arms": ["weak"], "seeds": [0], SEALED: sealed}))


def test_each_trial_makes_the_check(tmp_path: Path) -> None:
    settings = config()
    assert [node.stage for node in trial_graph(build_graph(settings), settings, METRIC).nodes][-1] == "check"


def test_a_sweep_needs_a_look_for_each_trial(tmp_path: Path) -> None:
    store, settings = Store(tmp_path / "store"), config("sweep.trials=12")
    expert = make_or_open(tmp_path / "experts", 14, settings.data.splits.salt)
    require_looks(settings, [], 12, store)
    for number in range(3):
        expert.look(look(f"check-{number}"), 14)
    with pytest.raises(ValueError, match=r"each of 12 trials looks .* 12 looks more, and .*experts has 11 left"):
        require_looks(settings, [], 12, store)
    paid = [TrialRecord(0, {}, "done", stages={"check": "check-0"})]
    require_looks(settings, paid, 12, store)
    require_looks(load("tiny_sweep"), [], 10**6, store)


def test_the_winner_is_corrected_for_the_choice_and_invalid_looks_are_said(tmp_path: Path) -> None:
    store, settings, rng = Store(tmp_path / "store"), config("sweep.trials=4"), np.random.default_rng(0)
    expert = make_or_open(tmp_path / "experts", 3, settings.data.splits.salt)
    records = []
    for number in range(4):
        name = f"check-{number}"
        checked(store, name, 0.5, rng)
        write_standing(store.root / name, expert.look(look(name), 3))
        record = item_records(None, store.root / name).record()
        value = float(np.mean(record["policies"]["weak/seed0"]["correct"]))
        params = {one: 0.05 for one in ("ppo.kl.coefficient",)}
        records.append(TrialRecord(number, params, "done", value=value, stages={"sft-seed0": "sft-a", "check": name}))
    selection, notes = expert_outcome(settings, records, store)
    assert selection is not None
    assert selection["trial"] == max(records, key=lambda record: record.value or 0).number
    assert selection["shown"]["estimate"] == pytest.approx(max(record.value or 0 for record in records))
    assert selection["corrected"] < selection["shown"]["estimate"]
    assert notes[0].startswith("Best of 4 by an expert result")
    assert notes[1].startswith("trial 3: INVALID: look 4 of a budget of 3")
    assert expert_outcome(settings, records[:1], store) == (None, [])
    assert expert_outcome(load("tiny_sweep"), records, store) == (None, [])


def test_the_sweeps_file_holds_the_correction(tmp_path: Path) -> None:
    store, settings, rng = Store(tmp_path / "store"), config("sweep.trials=2"), np.random.default_rng(1)
    params = {"ppo.optimizer.learning_rate": 0.01, "ppo.kl.coefficient": 0.05, "ppo.advantage": "gae"}
    expert, records = make_or_open(tmp_path / "experts", 20, settings.data.splits.salt), []
    for number in range(19):
        expert.look(look(f"check-before-{number}"), 20)
    for number, share in enumerate((0.2, 0.8)):
        checked(store, f"check-{number}", share, rng)
        write_standing(store.root / f"check-{number}", expert.look(look(f"check-{number}"), 20))
        stages = {"check": f"check-{number}"}
        records.append(TrialRecord(number, params, "done", results={0: share}, value=share, seconds=1.0, stages=stages))
    outcome = write_outcome(settings, records, tmp_path, store)
    written = json.loads((tmp_path / "sweep.json").read_text())
    assert written["selection"]["trial"] == written["best"] == 1
    assert written["notes"][0] == written["selection"]["sentence"]
    table = io.StringIO()
    show_outcome(outcome, Console(file=table, width=200))
    for text in (table.getvalue(), "\n".join(written["notes"])):
        assert "trial 1: INVALID: look 21 of a budget of 20." in text
        assert "trial 0" not in text
    assert load(tmp_path / "best.yaml").conditions.chosen_from == 2
