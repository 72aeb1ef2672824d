"""Where pairs, gold questions and priorities come from, and how they get into the database."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, update

from sandwiching.configs.load import load, to_yaml
from sandwiching.launch.page.collect import add_pairs, count_pairs, invite, serve_only
from sandwiching.launch.page.records import Terms
from sandwiching.launch.page.sources import (
    default_database,
    gold_questions,
    pair_ids,
    place,
    read_priorities,
    read_source,
)
from sandwiching.launch.page.tables import collection, connect, create, pairs
from sandwiching.tasks.registry import make_task
from sandwiching.training.artifacts import BrokenArtifact, Store, write_manifest

from .conftest import gold_rows, pair_row, pair_rows


def run_with_pairs(root: Path, *names: str) -> Path:
    """A run folder of the task capitals whose pairs are as `sample_pairs` writes them."""
    config = load("tiny")
    prompts = make_task(config.task, config.data, 0).prompts("train")[:3]
    run = root / "runs" / "one"
    (run / "artifacts").mkdir(parents=True)
    (run / "config.yaml").write_text(to_yaml(config))
    for name in names:
        lines = [
            json.dumps(
                {
                    "id": f"{prompt.id}/0-1",
                    "prompt_id": prompt.id,
                    "prompt": prompt.text,
                    "group": prompt.group,
                    "kind": prompt.kind,
                    "response_a": f"{name} yes",
                    "response_b": f"{name} no",
                    "finished_a": True,
                    "finished_b": False,
                }
            )
            for prompt in prompts
        ]
        with Store(root / "store").claim("pairs", name, print) as folder:
            (folder.path / "pairs.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
            empty = {"version": 1, "inputs": {}, "parents": {}, "metrics": {}, "seconds": 1.0}
            write_manifest(folder, {"stage": "pairs", "key": name, **empty})
            (run / "artifacts" / name).symlink_to(folder.path)
    return run


def test_a_runs_pairs_come_with_what_experts_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_with_pairs(tmp_path, "pairs-seed0")
    monkeypatch.chdir(tmp_path)
    source = read_source("one")
    assert place("one") == Path("runs/one")
    assert default_database("one") == "runs/one/raters.sqlite"
    assert len(source.rows) == 3
    assert all(row.references and row.source for row in source.rows)
    assert not any(row.finished_b for row in source.rows)
    (run / "artifacts" / "pairs-seed0" / "pairs.jsonl.gz").write_bytes(b"")
    with pytest.raises(BrokenArtifact):
        read_source("one")


def test_what_a_run_lacks_or_has_twice_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no run of this name"):
        read_source(str(tmp_path / "nothing"))
    with pytest.raises(ValueError, match="the run has no pairs yet; make them with `sandwich run CONFIG --only pairs`"):
        read_source(str(run_with_pairs(tmp_path / "a")))
    two = str(run_with_pairs(tmp_path / "b", "pairs-seed0", "pairs-seed1"))
    with pytest.raises(ValueError, match="choose one by --pairs: pairs-seed0, pairs-seed1"):
        read_source(two)
    with pytest.raises(ValueError, match="the run has no 'pairs-seed2'"):
        read_source(two, "pairs-seed2")
    assert read_source(two, "pairs-seed1").rows[0].pair.response_a == "pairs-seed1 yes"


def test_what_labels_are_spent_on_goes_before_what_it_was_chosen_from(tmp_path: Path) -> None:
    run = str(run_with_pairs(tmp_path, "choice-seed0", "pairs-seed0"))
    assert read_source(run).rows[0].pair.response_a == "choice-seed0 yes"
    assert read_source(run, "pairs-seed0").rows[0].pair.response_a == "pairs-seed0 yes"
    assert pair_ids(run, "choice-seed0") == {row.pair.id for row in read_source(run).rows}
    rounds = str(run_with_pairs(tmp_path / "more", "choice-seed0-round0", "choice-seed0-round1", "pairs-seed0-round0"))
    with pytest.raises(ValueError, match="--pairs: choice-seed0-round0, choice-seed0-round1, pairs-seed0-round0"):
        read_source(rounds)
    (tmp_path / "p.jsonl").write_text("{}")
    with pytest.raises(ValueError, match="leave it out"):
        pair_ids(str(tmp_path / "p.jsonl"), "choice-seed0")


def test_only_the_pairs_of_this_round_are_handed_out(collection, desk) -> None:
    engine, secrets = collection(6, "ann", "ben")
    ann, ben = secrets["ann"], secrets["ben"]
    serve_only(engine, {"pair/1", "pair/2"})
    seen = set()
    while (question := desk.look(ann).question) is not None:
        seen.add(question.prompt)
        desk.say(ann, question)
    assert seen == {"pair 1?", "pair 2?"}
    assert desk.asked(ben).prompt in seen
    serve_only(engine, {"pair/5"})
    desk.say(ben, desk.asked(ben))
    assert desk.asked(ben).prompt == "pair 5?", "what was open was finished first"
    assert desk.asked(ann).prompt == "pair 5?"
    desk.check_books()


def test_gold_questions_are_taken_out_of_what_is_bought(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text(json.dumps({"prompt": "Q?", "response_a": "x", "response_b": "y", "answer": "a", "id": "1"}) + "\n")
    source = read_source(str(file))
    with pytest.raises(ValueError, match="--gold FILE"):
        gold_questions(source, None, 5)
    rows, gold = gold_questions(source, file, 5)
    assert (rows, [row.answer for row in gold]) == ([], ["a"])
    assert default_database(str(file)) == f"{file}.raters.sqlite"


def test_pairs_are_added_once_and_their_ids_are_theirs(engine: Engine) -> None:
    assert add_pairs(engine, pair_rows(5), gold=False) == 5
    assert add_pairs(engine, pair_rows(7), gold=False) == 2
    assert add_pairs(engine, gold_rows(2), gold=True) == 2
    assert count_pairs(engine) == (7, 2)
    assert add_pairs(engine, [pair_row(3, "b")], gold=True) == 1, "nobody has seen it"
    assert count_pairs(engine) == (6, 3)
    assert add_pairs(engine, pair_rows(7), gold=False) == 0
    other = replace(pair_row(1), pair=replace(pair_row(1).pair, response_a="another"))
    with pytest.raises(ValueError, match="'pair/1': the database holds another one of this id"):
        add_pairs(engine, [other], gold=False)
    with pytest.raises(ValueError, match="1 pairs have no answer"):
        add_pairs(engine, [pair_row(9)], gold=True)


def test_a_pair_that_somebody_has_is_no_gold_question_any_more(collection, desk) -> None:
    engine, secrets = collection(1, "ann")
    desk.say(secrets["ann"], desk.asked(secrets["ann"]))
    assert add_pairs(engine, [pair_row(0, "b")], gold=True) == 0
    assert count_pairs(engine) == (1, 0)


def test_order_is_random_and_the_seeds(tmp_path: Path) -> None:
    def order(name: str, seed: int) -> list[str]:
        engine = connect(str(tmp_path / name))
        create(engine, seed)
        create(engine, seed + 1)  # the first call's stays
        add_pairs(engine, pair_rows(20), gold=False)
        with engine.connect() as connection:
            return list(connection.scalars(select(pairs.c.pair).order_by(pairs.c.shuffle)))

    assert order("a", 0) == order("b", 0) != order("c", 7)


def test_priorities_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "priority.jsonl"
    file.write_text('{"pair": "1", "priority": 0.5}\n{"pair": "2", "priority": -1}\n')
    assert read_priorities(file) == {"1": 0.5, "2": -1.0}
    file.write_text('{"pair": "1", "priority": 0.5}\n{"pair": "2"}\n')
    with pytest.raises(ValueError, match=r"priority.jsonl:2: priority: missing"):
        read_priorities(file)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://host/name", "--database"),
        ("sqlite:////no/such/folder/x", "cannot be opened"),
        ("postgresql://nobody@127.0.0.1:1/none", "cannot be opened"),
    ],
)
def test_databases_that_cannot_be(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create(connect(url))


def test_a_database_of_another_version_is_refused(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(update(collection).values(schema=99))
    with pytest.raises(ValueError, match="has tables of version 99, this is 2"):
        create(engine)


@pytest.mark.parametrize(
    ("terms", "message"),
    [({"labels_per_pair": 0}, "--labels-per-pair"), ({"budget": 0}, "--budget"), ({"gold_rate": 1.0}, "--gold-rate")],
)
def test_terms_that_cannot_be(terms: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Terms(**terms)


@pytest.mark.parametrize(("name", "tier"), [(" ", "weak"), ("x" * 201, "weak"), ("ann", "strong")])
def test_raters_that_cannot_be(engine: Engine, name: str, tier: str) -> None:
    with pytest.raises(ValueError, match=r"must be|has 1 to 200"):
        invite(engine, name, tier)
