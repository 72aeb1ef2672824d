"""Which pair comes next: the label budget, gold questions, pairs left lying, and many raters at once."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from sandwiching.launch.page.answers import judge, screen, skip, undo
from sandwiching.launch.page.collect import add_pairs, invite, set_priorities
from sandwiching.launch.page.export import export_judgements, standings
from sandwiching.launch.page.records import Terms, Verdict
from sandwiching.launch.page.tables import assignments, connect, create, pairs, reading
from sandwiching.tasks.readers import read_judgements

from .conftest import Desk, pair_rows


def prompts(desk: Desk, secret: str, number: int, terms: Terms | None = None) -> list[str]:
    """What a rater gets in `number` turns."""
    found = []
    for _ in range(number):
        question = desk.asked(secret, terms)
        found.append(str(question.prompt))
        desk.say(secret, question, terms=terms)
    return found


def labels(desk: Desk) -> dict[str, int]:
    with reading(desk.engine) as connection:
        judged = select(pairs.c.pair).join(assignments).where(assignments.c.state == "judged", ~pairs.c.gold)
        return Counter(connection.scalars(judged))


def test_every_pair_gets_a_label_before_one_gets_two(collection, desk) -> None:
    _, secrets = collection(4, "ann", "ben")
    ann, ben = prompts(desk, secrets["ann"], 2), prompts(desk, secrets["ben"], 1)
    assert not set(ann) & set(ben)
    assert len(set(ann)) == 2


def test_priorities_come_first_and_pairs_without_one_last(collection, desk) -> None:
    engine, secrets = collection(4, "ann", "ben")
    set_priorities(engine, {"pair/1": -1.0, "pair/2": 7.0, "pair/3": 7.5})
    wanted = [f"pair {number}?" for number in (3, 2, 1, 0)]
    assert prompts(desk, secrets["ann"], 4) == wanted
    assert prompts(desk, secrets["ben"], 4) == wanted, "the same for all, until a pair has its labels"
    with pytest.raises(ValueError, match=r"1 ids are no pairs here, e\.g\. 'pair/9'"):
        set_priorities(engine, {"pair/9": 1.0})


def test_the_budget_a_pair_in_all_and_a_rater(collection, desk) -> None:
    _, secrets = collection(6, "ann", "ben", "cem", "dua")
    terms = Terms(labels_per_pair=2, budget=9, per_rater=4)
    for name in secrets:
        while (question := desk.look(secrets[name], terms).question) is not None:
            desk.say(secrets[name], question, terms=terms)
    counts = [row.judged for row in standings(desk.engine)]
    assert counts == [4, 4, 1, 0]
    assert max(labels(desk).values()) == 2
    desk.check_books()


def test_experts_and_weak_raters_take_no_labels_from_each_other(collection, desk) -> None:
    _, secrets = collection(6, "ann", "expert eve", "expert ida")
    terms = Terms(labels_per_pair=1, budget=4, expert_labels_per_pair=1, expert_budget=5)
    for name in ("expert eve", "ann", "expert ida"):
        while (question := desk.look(secrets[name], terms).question) is not None:
            desk.say(secrets[name], question, terms=terms)
        assert desk.look(secrets[name], terms).of == (4 if name == "ann" else 5)
    assert [(row.name, row.judged) for row in standings(desk.engine)] == [
        ("ann", 4),
        ("expert eve", 5),
        ("expert ida", 0),
    ]
    desk.check_books()


def test_gold_questions_come_at_their_rate_and_are_scored_but_not_bought(collection, desk, tmp_path: Path) -> None:
    engine, secrets = collection(60, "ann", "ben", gold=30)
    terms = Terms(labels_per_pair=2, gold_rate=0.3)
    for name in secrets:
        for _ in range(50):
            question = desk.asked(secrets[name], terms)
            right = "first" if question.first.startswith("short") else "second"
            wrong = name == "ben" and "gold" in str(question.prompt) and question.prompt < "gold 2"
            said = right if not wrong else "tie"
            judge(
                engine, secrets[name], question.key, question.attempt, Verdict(said, 1.0, 1.0, None), terms, desk.now()
            )
    ann, ben = standings(engine)
    assert 8 <= ann.gold_answered <= 22
    assert ann.judged + ann.gold_answered == 50
    assert ann.gold_right == ann.gold_answered
    assert ann.gold_interval is not None
    assert 0.5 < ann.gold_interval[0] < ann.gold_interval[1] == pytest.approx(1)
    assert 0 < ben.gold_right < ben.gold_answered
    assert export_judgements(engine, tmp_path / "bought.jsonl") == ann.judged + ben.judged
    assert export_judgements(engine, tmp_path / "gold.jsonl", gold=True) == ann.gold_answered + ben.gold_answered
    assert all(str(row.judgement.pair).startswith("pair/") for row in read_judgements(tmp_path / "bought.jsonl"))
    assert all(str(row.judgement.pair).startswith("gold/") for row in read_judgements(tmp_path / "gold.jsonl"))
    desk.check_books()


def test_gold_questions_alone_are_not_asked_once_the_rest_is_done(collection, desk) -> None:
    _, secrets = collection(3, "ann", gold=1)
    terms = Terms(labels_per_pair=1, gold_rate=0.9)
    prompts(desk, secrets["ann"], 4, terms)
    assert desk.look(secrets["ann"], terms).question is None


def test_a_pair_left_lying_goes_to_others_and_a_late_verdict_still_counts(collection, desk) -> None:
    engine, secrets = collection(1, "ann", "ben")
    terms = Terms(labels_per_pair=1, hold=60)
    question = desk.asked(secrets["ann"], terms)
    assert screen(engine, secrets["ben"], terms, 1, 1_050).question is None
    assert screen(engine, secrets["ann"], terms, 1, 1_059).question == question
    found = screen(engine, secrets["ben"], terms, 1, 1_100).question
    assert found is not None
    assert found.prompt == question.prompt
    verdict = Verdict("tie", 1.0, None, None)
    assert screen(engine, secrets["ann"], terms, 1, 1_101).question is None, "the pair has its label"
    assert judge(engine, secrets["ann"], question.key, question.attempt, verdict, terms, 1_102)
    assert judge(engine, secrets["ben"], found.key, found.attempt, verdict, terms, 1_103)
    assert labels(desk) == {"pair/0": 2}
    desk.check_books()


def test_raters_at_once_lose_nothing_and_spend_nothing_twice(collection, desk) -> None:
    engine, secrets = collection(30, *[f"rater {number}" for number in range(8)])
    terms = Terms(labels_per_pair=2, budget=50)

    def work(secret: str) -> int:
        done = 0
        while (question := screen(engine, secret, terms, 30, 1_000).question) is not None:
            done += judge(
                engine, secret, question.key, question.attempt, Verdict("first", 1.0, 1.0, None), terms, 1_000
            )
        return done

    with ThreadPoolExecutor(16) as pool:  # each rater in two tabs
        done = sum(pool.map(work, [*secrets.values(), *secrets.values()]))
    assert done == sum(labels(desk).values()) == 50
    assert max(labels(desk).values()) <= 2
    desk.check_books()


def test_one_rater_in_many_tabs_gets_one_pair_and_gives_one_verdict(collection, desk) -> None:
    _, secrets = collection(5, "ann")
    ann = secrets["ann"]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: desk.asked(ann), range(16)))
        assert len({question.key for question in found}) == 1
        said = list(pool.map(lambda _: desk.say(ann, found[0]), range(16)))
    assert sum(said) == 1
    assert desk.look(ann).judged == 1
    desk.check_books()


@settings(max_examples=6)
@given(seed=st.integers(0, 10**6))
def test_the_books_balance_whatever_raters_do(seed: int) -> None:
    """Verdicts, copies of them, skips, undos, forms kept in other tabs, pairs left lying: in any order."""
    draw = random.Random(seed)
    with TemporaryDirectory() as folder:
        engine = connect(f"{folder}/raters.sqlite")
        create(engine, seed)
        add_pairs(engine, pair_rows(8), gold=False)
        add_pairs(
            engine,
            [replace(row, pair=replace(row.pair, id="g" + row.pair.id), answer="a") for row in pair_rows(3)],
            gold=True,
        )
        secrets = [invite(engine, f"rater {number}", tier) for number, tier in enumerate(("weak", "weak", "expert"))]
        desk, terms, tabs = Desk(engine), Terms(labels_per_pair=2, budget=9, gold_rate=0.3, hold=15), []
        for _ in range(40):
            secret = draw.choice(secrets)
            shown = screen(engine, secret, terms, 8, desk.now())
            if shown.question is not None:
                tabs.append((secret, shown.question))
            act = draw.choice(["judge", "judge", "old tab", "skip", "undo"])
            if act == "undo" and shown.undoable is not None:
                undo(engine, secret, shown.undoable.key, shown.undoable.attempt, desk.now())
            elif tabs and act != "undo":
                owner, question = draw.choice(tabs) if act == "old tab" else tabs[-1]
                if act == "skip":
                    skip(engine, owner, question.key, question.attempt, terms, desk.now())
                else:
                    desk.say(owner, question, draw.choice(["first", "second", "tie"]), terms)
            desk.check_books()
        engine.dispose()
