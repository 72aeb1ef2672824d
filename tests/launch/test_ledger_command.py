"""`sandwich ledger`: looks, budget and whether the chain is whole; and what runs do about the store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sandwiching.configs.load import load
from sandwiching.launch.cli import app
from sandwiching.launch.graph import build_graph
from sandwiching.launch.looks import ledger_note, planned_looks, prepare_checks
from sandwiching.launch.status import read_status
from sandwiching.oversight.expert_store import ExpertStore, Look, make_or_open, open_store, write_standing
from sandwiching.training.artifacts import Store


def looked(folder: Path, number: int, budget: int = 20) -> ExpertStore:
    made = make_or_open(folder / "experts", budget, "salt")
    for one in range(number):
        made.look(Look(f"check-{one}", "run [red]", "final", "check", {}, 2), budget)
    return made


def asked(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["ledger", *arguments])
    return done.exit_code, done.output


def test_looks_and_what_is_left(tmp_path: Path) -> None:
    looked(tmp_path, 3, 2)
    code, text = asked(str(tmp_path / "experts"))
    assert code == 0
    assert "3 looks of 2, 0 left" in text
    assert "run [red]" in text
    assert "the ledger is whole: 3 lines" in text
    code, text = asked(str(tmp_path / "experts"), "--json")
    report: dict[str, Any] = json.loads(text)
    assert (report["budget"], report["used"], report["left"], report["whole"]) == (2, 3, 0, True)
    assert [one["name"] for one in report["looks"]] == ["check-0", "check-1", "check-2"]


def test_a_ledger_that_is_not_whole_is_exit_code_1(tmp_path: Path) -> None:
    made = looked(tmp_path, 3)
    lines = made.ledger.file.read_text().splitlines(keepends=True)
    made.ledger.file.write_text("".join([lines[0], lines[2]]))
    code, text = asked(str(tmp_path / "experts"))
    assert code == 1
    assert "NOT WHOLE: line 2, which is number 3, does not follow" in text
    code, text = asked(str(tmp_path / "experts"), "--json")
    assert (code, json.loads(text)["whole"]) == (1, False)


def test_manifests_beside_the_store_remember_its_head(tmp_path: Path) -> None:
    made = looked(tmp_path, 2)
    note = ledger_note(load("tiny"), Store(tmp_path / "store"))
    assert note["ledger"]["length"] == 2
    folder = tmp_path / "store" / "ppo-a"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"environment": note}))
    assert asked(str(tmp_path / "experts"))[0] == 0
    made.ledger.file.write_text(made.ledger.file.read_text().splitlines(keepends=True)[0])
    code, text = asked(str(tmp_path / "experts"))
    assert code == 1
    assert "ppo-a remembers 2 lines, of which 1 are left" in text


def test_without_a_store_it_is_wrong_input(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no expert store"):
        CliRunner().invoke(app, ["ledger", str(tmp_path)], catch_exceptions=False)
    assert ledger_note(load("tiny"), Store(tmp_path / "store")) == {}


def test_a_run_makes_the_store_and_declares_its_conditions_before_it_trains(tmp_path: Path) -> None:
    store, config = Store(tmp_path / "store"), load("tiny", ["check.looks=7", "conditions.max_kl=3.0"])
    graph = build_graph(config)
    prepare_checks(config, graph.nodes, store)
    made = open_store(tmp_path / "experts")
    assert (made.budget, made.salt, made.ledger.entries()) == (7, config.data.splits.salt, [])
    folder = graph.of("check")[0].folder(store)
    assert folder is not None
    declared = json.loads((folder / "declared.json").read_text())
    assert (declared["run"], declared["trained"], declared["of"]) == ("tiny", 0, 2)
    assert declared["conditions"]["max_kl"] == 3.0
    assert graph.of("check")[0].state(store) == "new"
    with pytest.raises(ValueError, match=r"check\.looks=8 would raise the budget of 7"):
        prepare_checks(load("tiny", ["check.looks=8"]), graph.nodes, store)


def test_a_run_that_waits_for_people_declares_when_they_have_judged(tmp_path: Path) -> None:
    store, judged = Store(tmp_path / "store"), tmp_path / "people.jsonl"
    settings = ["arms.ceiling=null", "ppo=null", "judgements.raters=people", f"judgements.people.weak={judged}"]
    config = load("tiny", settings)
    waiting = build_graph(config)
    assert waiting.of("check")[0].folder(store) is None
    prepare_checks(config, waiting.nodes, store)
    assert open_store(tmp_path / "experts").ledger.entries() == []
    judged.write_text("")
    graph = build_graph(config)
    prepare_checks(config, graph.nodes, store)
    folder = graph.of("check")[0].folder(store)
    assert folder is not None
    assert json.loads((folder / "declared.json").read_text())["trained"] == 0


def test_bounds_budget_and_place_enter_no_key() -> None:
    changed = ["check.looks=7", "check.store=elsewhere", "check.overlap=0.9", "conditions.max_kl=3.0"]
    keys = [[node.key for node in build_graph(load("tiny", more)).nodes] for more in ([], changed)]
    assert keys[0] == keys[1]


def test_status_says_that_a_check_is_invalid(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    made = looked(tmp_path, 20)
    with store.claim("check", "key", print) as folder:
        write_standing(folder.path, made.look(Look("check-key", "run", "final", "check", {}, 2), 20))
    (tmp_path / "plan.json").write_text(
        json.dumps({"stages": [{"name": "check", "stage": "check", "folder": str(folder.path)}]})
    )
    said = read_status(tmp_path).stages[0].look
    assert said is not None
    assert said.startswith("INVALID: look 21 of a budget of 20.")
    shown = CliRunner().invoke(app, ["status", str(tmp_path)]).output
    assert "INVALID: look 21 of a budget of 20." in shown


def test_a_plan_says_what_is_left_and_makes_nothing(tmp_path: Path) -> None:
    store, config = Store(tmp_path / "store"), load("tiny", ["check.looks=4"])
    graph = build_graph(config)
    first = planned_looks(config, graph, store)
    assert first is not None
    assert first.lines()[0].endswith("experts: 0 looks of 4 used, 4 left")
    assert not (tmp_path / "experts").exists()
    made = looked(tmp_path, 3)
    found = planned_looks(config, graph, store)
    assert found is not None
    assert (found.used, found.left, found.lines()[1]) == (3, 1, "the check of this run is look 4")
    made.look(Look("check-else", "run", "final", "check", {}, 1), 20)
    over = planned_looks(config, graph, store)
    assert over is not None
    assert over.lines()[1] == "the check of this run would be look 5, past the budget: INVALID"
    own = graph.of("check")[0].folder(store)
    assert own is not None
    made.look(Look(own.name, "run", "final", "check", {}, 1), 20)
    paid = planned_looks(load("tiny"), graph, store)
    assert paid is not None
    assert (paid.left, paid.lines()[1]) == (15, "the check of this run is paid for")
    made.ledger.file.write_text(made.ledger.file.read_text().replace("run", "ran", 1))
    broken = planned_looks(config, graph, store)
    assert broken is not None
    assert "NOT WHOLE (line 1 was edited" in broken.lines()[0]
