"""Verdicts, skips and undo: what counts once, whose it is, and that no label is spent twice or lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

from sandwiching.launch.page.answers import UnknownLink, skip, undo
from sandwiching.launch.page.export import export_judgements, standings
from sandwiching.launch.page.records import Terms
from sandwiching.tasks.readers import read_judgements
from sandwiching.tasks.records import Judgement


def rows_of(engine: Engine, tmp_path: Path) -> list[Judgement]:
    export_judgements(engine, tmp_path / "out.jsonl")
    return [row.judgement for row in read_judgements(tmp_path / "out.jsonl")]


def test_sides_are_random_fixed_and_told_apart_in_the_verdict(collection, desk, tmp_path: Path) -> None:
    engine, secrets = collection(40, "ann")
    firsts = []
    for _ in range(40):
        question = desk.asked(secrets["ann"])
        assert desk.asked(secrets["ann"]) == question, "a reload shows the same pair on the same sides"
        firsts.append(question.first.startswith("long"))
        desk.say(secrets["ann"], question, "first" if firsts[-1] else "second")
    assert 8 < sum(firsts) < 32
    found = rows_of(engine, tmp_path)
    assert len(found) == 40
    assert [row.response_a.startswith("long") for row in found] == firsts, "a row stands as it was shown"
    assert [row.preference == "a" for row in found] == firsts, "the long one was taken, wherever it stood"
    assert {row.shown for row in found} == {"ab"}
    assert {(row.confidence, row.tier) for row in found} == {(0.75, "weak")}


def test_a_verdict_sent_twice_is_one_and_the_first_counts(collection, desk, tmp_path: Path) -> None:
    engine, secrets = collection(5, "ann")
    question = desk.asked(secrets["ann"])
    assert desk.say(secrets["ann"], question, "tie")
    assert not desk.say(secrets["ann"], question, "first")
    assert not skip(engine, secrets["ann"], question.key, question.attempt, desk.terms, desk.now())
    assert [row.preference for row in rows_of(engine, tmp_path)] == ["tie"]
    assert desk.look(secrets["ann"]).judged == 1
    desk.check_books()


def test_undo_opens_the_last_again_and_late_copies_of_what_was_undone_change_nothing(
    collection, desk, tmp_path: Path
) -> None:
    engine, secrets = collection(5, "ann")
    ann = secrets["ann"]
    first = desk.asked(ann)
    desk.say(ann, first, "first")
    waiting, done = desk.asked(ann), desk.last(ann)
    assert undo(engine, ann, done.key, done.attempt, desk.now())
    again = desk.asked(ann)
    assert (again.key, again.attempt) == (first.key, 2)
    assert again.earlier is not None
    assert (again.earlier.choice, again.earlier.confidence, again.earlier.why) == ("first", "fairly", "because")
    assert not undo(engine, ann, done.key, done.attempt, desk.now()), "a second click on undo takes back one"
    assert not desk.say(ann, first, "first"), "a copy of the undone verdict arrives late"
    assert desk.look(ann).judged == 0
    assert desk.say(ann, again, "tie")
    assert desk.asked(ann).key == waiting.key, "the pair on the page when undo was pressed comes next"
    assert [row.preference for row in rows_of(engine, tmp_path)] == ["tie"]
    (row,) = standings(engine)
    assert (row.judged, row.undone, row.skipped) == (1, 1, 0)
    desk.check_books()


def test_a_verdict_on_a_pair_that_undo_took_away_is_kept(collection, desk) -> None:
    engine, secrets = collection(5, "ann")
    ann = secrets["ann"]
    desk.say(ann, desk.asked(ann))
    other_tab, done = desk.asked(ann), desk.last(ann)
    undo(engine, ann, done.key, done.attempt, desk.now())
    assert desk.say(ann, other_tab)
    assert desk.look(ann).judged == 1
    assert desk.asked(ann).key == done.key
    desk.check_books()


def test_a_skipped_pair_is_for_others_and_undo_brings_it_back(collection, desk) -> None:
    engine, secrets = collection(1, "ann", "ben")
    one = Terms(labels_per_pair=1)
    question = desk.asked(secrets["ann"], one)
    assert desk.look(secrets["ben"], one).question is None, "the one label is being given"
    assert skip(engine, secrets["ann"], question.key, question.attempt, one, desk.now())
    assert not skip(engine, secrets["ann"], question.key, question.attempt, one, desk.now())
    assert desk.look(secrets["ann"], one).question is None
    done = desk.last(secrets["ann"])
    assert undo(engine, secrets["ann"], done.key, done.attempt, desk.now())
    assert desk.asked(secrets["ann"], one).earlier is not None
    again = desk.asked(secrets["ann"], one)
    skip(engine, secrets["ann"], again.key, again.attempt, one, desk.now())
    assert desk.asked(secrets["ben"], one).prompt == question.prompt
    desk.check_books()


def test_one_rater_cannot_touch_the_rows_of_another(collection, desk) -> None:
    engine, secrets = collection(5, "ann", "ben")
    question = desk.asked(secrets["ann"])
    desk.say(secrets["ann"], question)
    current, done = desk.asked(secrets["ann"]), desk.last(secrets["ann"])
    for stranger in (secrets["ben"], "wrong", ""):
        with pytest.raises(UnknownLink):
            desk.say(stranger, current)
        with pytest.raises(UnknownLink):
            skip(engine, stranger, current.key, current.attempt, desk.terms, desk.now())
        with pytest.raises(UnknownLink):
            undo(engine, stranger, done.key, done.attempt, desk.now())
    assert desk.asked(secrets["ann"]) == current
    assert desk.look(secrets["ann"]).judged == 1
