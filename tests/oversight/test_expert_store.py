"""The expert store: who may open it, what a look costs, and what is said past the budget."""

import json
from pathlib import Path

import pytest

from sandwiching.oversight.expert_store import (
    ExpertStore,
    Look,
    make_or_open,
    open_store,
    place_of,
    read_standing,
    refuse_cut,
    write_standing,
)
from sandwiching.oversight.ledger import BrokenLedger
from sandwiching.tasks.sealed import Sealed, training


def look(name: str, split: str = "dev", run: str = "run", held_out: str = "") -> Look:
    return Look(name, run, split, "check", {"ppo/weak/seed0": "ppo-a"}, 2, held_out)


def store(folder: Path, budget: int | None = None, salt: str = "salt") -> ExpertStore:
    return make_or_open(folder / "experts", budget, salt)


def test_a_store_is_made_once(tmp_path: Path) -> None:
    made = store(tmp_path)
    assert (made.budget, made.salt) == (20, "salt")
    assert store(tmp_path, 5) == made == open_store(tmp_path / "experts")
    assert store(tmp_path / "other", 3).budget == 3
    assert store(tmp_path / "other").id != made.id


def test_its_place_is_beside_the_artifacts() -> None:
    assert place_of(None, Path("runs/store")) == Path("runs/experts")
    assert place_of("/data/experts", Path("runs/store")) == Path("/data/experts")


def test_the_budget_may_only_be_lowered(tmp_path: Path) -> None:
    store(tmp_path, 10)
    with pytest.raises(ValueError, match=r"check\.looks=11 would raise the budget of 10 looks"):
        store(tmp_path, 11)
    made = store(tmp_path, 2)
    standings = [made.look(look(f"check-{number}"), 2) for number in range(3)]
    assert [one.valid for one in standings] == [True, True, False]
    assert standings[2].sentence.startswith("INVALID: look 3 of a budget of 2.")


def test_a_store_or_ledger_of_another_project_is_refused(tmp_path: Path) -> None:
    store(tmp_path).look(look("check-a"), 20)
    with pytest.raises(ValueError, match=r"another project: it was made for data\.splits\.salt='salt'.*'other'"):
        store(tmp_path, salt="other")
    foreign = store(tmp_path / "foreign")
    foreign.ledger.file.write_bytes((tmp_path / "experts" / "ledger.jsonl").read_bytes())
    with pytest.raises(BrokenLedger, match=f"line 1 is of another project: of store {store(tmp_path).id}"):
        foreign.look(look("check-b"), 20)
    with pytest.raises(ValueError, match=r"is no expert store"):
        open_store(tmp_path)


def test_a_budget_that_is_changed_in_the_file_breaks_the_chain(tmp_path: Path) -> None:
    made = store(tmp_path)
    made.look(look("check-a"), 20)
    file = made.folder / "store.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "budget": 1000}))
    with pytest.raises(BrokenLedger, match="budget or salt was changed"):
        store(tmp_path).look(look("check-b"), 1000)


def test_the_same_check_pays_once(tmp_path: Path) -> None:
    made = store(tmp_path)
    first = made.look(look("check-a"), 20)
    made.look(look("check-b"), 20)
    assert made.look(look("check-a"), 20) == first
    assert len(made.ledger.entries()) == 2
    assert made.left(made.ledger.entries()) == 18


def test_the_21st_look_is_invalid_and_its_artifact_says_so(tmp_path: Path) -> None:
    made = store(tmp_path)
    standings = [made.look(look(f"check-{number}"), made.budget) for number in range(21)]
    assert all(one.valid for one in standings[:20])
    assert standings[19].sentence == "Look 20 of 20."
    write_standing(tmp_path, standings[20])
    assert read_standing(tmp_path) == standings[20]
    assert json.loads((tmp_path / "ledger.json").read_text())["sentence"].startswith(
        "INVALID: look 21 of a budget of 20"
    )
    assert read_standing(tmp_path / "nothing") is None


def test_a_second_opening_of_final_is_said_and_counted(tmp_path: Path) -> None:
    made = store(tmp_path)
    made.look(look("check-dev", "dev"), 20)
    first = made.look(look("check-a", "final", "one"), 20)
    second = made.look(look("check-b", "final", "two"), 20)
    assert first.before == ()
    assert "The final split had been opened once before (one)" in second.sentence
    assert made.look(look("check-c", "dev"), 20).before == ()
    assert made.look(look("check-a", "final", "one"), 20) == first


def test_final_is_not_opened_by_a_look_at_other_prompts(tmp_path: Path) -> None:
    made = store(tmp_path)
    capitals, grown, towns = (
        made.remember({"dev": ["a"], "final": final}) for final in (["b", "c"], ["c", "d"], ["kav"])
    )
    made.look(look("check-a", "final", "capitals", capitals), 20)
    assert made.look(look("check-b", "final", "towns", towns), 20).before == ()
    assert made.look(look("check-c", "final", "grown", grown), 20).before == ("capitals",)
    assert made.look(look("check-d", "final", "unknown"), 20).before == ("capitals", "towns", "grown")


def test_training_may_not_open_it(tmp_path: Path) -> None:
    made = store(tmp_path)
    with training("sandwiching.training.ppo:train_ppo"):
        for act in (lambda: store(tmp_path), lambda: open_store(made.folder), lambda: made.look(look("check-a"), 20)):
            with pytest.raises(Sealed, match=r"training\.ppo:train_ppo tried to open the expert store"):
                act()
    assert made.look(look("check-a"), 20).number == 1


def manifest(folder: Path, made: ExpertStore) -> None:
    from dataclasses import asdict

    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"environment": {"ledger": asdict(made.ledger.head())}}))


def test_a_ledger_that_was_cut_short_is_found_by_manifests(tmp_path: Path) -> None:
    made, artifacts = store(tmp_path), tmp_path / "store"
    for number in range(3):
        made.look(look(f"check-{number}"), 20)
    manifest(artifacts / "ppo-a", made)
    refuse_cut(made, artifacts)
    lines = made.ledger.file.read_text().splitlines(keepends=True)
    made.ledger.file.write_text("".join(lines[:1]))
    with pytest.raises(BrokenLedger, match=r"cut short: ppo-a remembers 3 lines, of which 1 are left"):
        refuse_cut(made, artifacts)
    refuse_cut(store(tmp_path / "another"), artifacts)
    made.ledger.file.unlink()
    with pytest.raises(BrokenLedger, match="of which 0 are left"):
        refuse_cut(made, artifacts)


def test_the_held_out_prompts_are_kept(tmp_path: Path) -> None:
    made = store(tmp_path)
    prompts = {"dev": ["a"], "final": ["b", "c"]}
    name = made.remember(prompts)
    assert made.remember(prompts) == name
    assert json.loads((made.folder / "held_out" / f"{name}.json").read_text()) == prompts
