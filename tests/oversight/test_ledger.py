"""The ledger of looks: tampering is found, and processes that write at once lose nothing."""

import json
import multiprocessing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandwiching.oversight.ledger import BrokenLedger, Head, Ledger, cut_short

FIRST = "0" * 64
PROCESSES, EACH = 8, 5


def ledger(folder: Path, lines: int = 0) -> Ledger:
    folder.mkdir(parents=True, exist_ok=True)
    made = Ledger(folder / "ledger.jsonl", "store", FIRST)
    for number in range(lines):
        made.append(lambda entries, number=number: {"name": f"look {number}"})
    return made


def rewrite(made: Ledger, lines: list[str]) -> None:
    made.file.write_text("".join(f"{line}\n" for line in lines))


def test_entries_follow_each_other(tmp_path: Path) -> None:
    made = ledger(tmp_path, 3)
    entries = made.entries()
    assert [entry["number"] for entry in entries] == [1, 2, 3]
    assert [entry["name"] for entry in entries] == ["look 0", "look 1", "look 2"]
    assert [entry["previous"] for entry in entries] == [FIRST, entries[0]["hash"], entries[1]["hash"]]
    assert made.head() == Head("store", 3, entries[2]["hash"])
    assert ledger(tmp_path / "empty").head() == Head("store", 0, FIRST)


def test_nothing_is_added_where_there_is_nothing_to_add(tmp_path: Path) -> None:
    made = ledger(tmp_path, 1)
    entries, head = made.append(lambda entries: None)
    assert len(entries) == head.length == 1


def edited(lines: list[str]) -> list[str]:
    return [lines[0], lines[1].replace("look 1", "look 9"), *lines[2:]]


def rehashed(lines: list[str]) -> list[str]:
    """An edit that gives the line a right hash again: the next line does not follow it."""
    from sandwiching.oversight.ledger import digest

    entry = json.loads(lines[1])
    entry["name"] = "look 9"
    entry["hash"] = digest({name: value for name, value in entry.items() if name != "hash"})
    return [lines[0], json.dumps(entry, sort_keys=True), *lines[2:]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edited, "line 2 was edited"),
        (rehashed, "line 3, which is number 3, does not follow"),
        (lambda lines: [lines[0], *lines[2:]], "line 2, which is number 3, does not follow"),
        (lambda lines: lines[1:], "line 1, which is number 2, does not follow"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], "line 1, which is number 2, does not follow"),
        (lambda lines: [*lines[:2], "", *lines[2:]], "line 3 is no JSON"),
        (lambda lines: [*lines, lines[0]], "line 5, which is number 1, does not follow"),
        (lambda lines: [*lines, '{"number": 5}'], "line 5 is no entry"),
    ],
)
def test_tampering_is_found(tmp_path: Path, change, message: str) -> None:
    made = ledger(tmp_path, 4)
    rewrite(made, change(made.file.read_text().splitlines()))
    with pytest.raises(BrokenLedger, match=message):
        made.entries()
    with pytest.raises(BrokenLedger, match=message):
        made.append(lambda entries: {"name": "more"})


def test_a_ledger_of_another_project_is_told(tmp_path: Path) -> None:
    made = ledger(tmp_path, 2)
    with pytest.raises(BrokenLedger, match=r"another project: of store store, where this one is other"):
        Ledger(made.file, "other", FIRST).entries()
    with pytest.raises(BrokenLedger, match="budget or salt was changed"):
        Ledger(made.file, "store", "1" * 64).entries()


def test_lines_cut_off_at_the_end_are_found_by_what_remembers_the_head(tmp_path: Path) -> None:
    made = ledger(tmp_path, 4)
    heads = [("ppo-a", made.head())]
    assert cut_short(made.entries(), FIRST, heads) == []
    rewrite(made, made.file.read_text().splitlines()[:2])
    assert made.problems() == []
    assert cut_short(made.entries(), FIRST, heads) == ["ppo-a remembers 4 lines, of which 2 are left"]
    for number in range(2):
        made.append(lambda entries, number=number: {"name": f"another look {number}"})
    assert cut_short(made.entries(), FIRST, heads) == ["ppo-a remembers another line 4"]


def test_a_line_that_a_crash_cut_short_was_never_granted(tmp_path: Path) -> None:
    made = ledger(tmp_path, 2)
    whole = made.file.read_text()
    made.file.write_text(whole + whole.splitlines()[0][:40])
    assert len(made.entries()) == 2
    entries, _ = made.append(lambda entries: {"name": "after"})
    assert [entry["name"] for entry in entries] == ["look 0", "look 1", "after"]
    assert made.entries() == entries


def write(folder: str, writer: int, start) -> None:
    made = Ledger(Path(folder) / "ledger.jsonl", "store", FIRST)
    start.wait()
    for number in range(EACH):
        made.append(lambda entries, number=number: {"name": f"{writer}/{number}"})


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start = context.Barrier(PROCESSES)
    writers = [context.Process(target=write, args=(str(tmp_path), writer, start)) for writer in range(PROCESSES)]
    for one in writers:
        one.start()
    for one in writers:
        one.join(60)
    assert [one.exitcode for one in writers] == [0] * PROCESSES
    entries = Ledger(tmp_path / "ledger.jsonl", "store", FIRST).entries()
    assert {entry["name"] for entry in entries} == {f"{w}/{n}" for w in range(PROCESSES) for n in range(EACH)}
    assert len(entries) == PROCESSES * EACH


@settings(max_examples=30, deadline=None)
@given(place=st.integers(0, 10**6), character=st.characters(codec="ascii", exclude_categories=["Cc"]))
def test_any_changed_character_is_found(tmp_path_factory: pytest.TempPathFactory, place: int, character: str) -> None:
    made = ledger(tmp_path_factory.getbasetemp() / "hypothesis")
    if not made.file.exists():
        ledger(made.file.parent, 3)
    whole = made.file.with_suffix(".whole")
    if not whole.exists():
        whole.write_text(made.file.read_text())
    text = whole.read_text()
    place %= len(text) - 1
    if text[place] in ("\n", character):
        return
    made.file.write_text(text[:place] + character + text[place + 1 :])
    assert made.problems()
