import gzip
import json
from pathlib import Path

import pytest

from sandwiching.tasks.pair_rows import read_pair_rows
from sandwiching.tasks.records import Pair, Prompt

GOOD = {"prompt": "Q?", "response_a": "x", "response_b": "y"}


def jsonl(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_all_columns(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "Hi"}]
    more = {"id": "p", "prompt_id": "q", "group": 3, "kind": "k", "finished_b": False, "source": "s", "answer": "tie"}
    row, chatted = read_pair_rows(
        jsonl(
            tmp_path / "f.jsonl",
            {**GOOD, **more, "references": "r"},
            {**GOOD, "prompt": chat, "references": ["r", "t"]},
        )
    )
    assert row.pair == Pair("p", Prompt("q", "Q?", "3", "k"), "x", "y")
    assert (row.finished_a, row.finished_b, row.source, row.references, row.answer) == (True, False, "s", ("r",), "tie")
    assert chatted.pair.prompt.text == tuple(chat)
    assert chatted.pair.prompt.group == chatted.pair.prompt.id, "without a group a prompt is its own"
    assert (chatted.references, chatted.answer) == (("r", "t"), None)


def test_a_file_of_judgements_holds_each_pair_once_whichever_side_stood_first(tmp_path: Path) -> None:
    judged = {**GOOD, "pair": "p1", "preference": "a", "rater": "ann", "tier": "weak"}
    swapped = {**judged, "response_a": "y", "response_b": "x", "preference": "b", "rater": "ben"}
    nameless = [{**GOOD, "preference": "a"}, {**GOOD, "preference": "b"}]
    file = tmp_path / "f.jsonl.gz"
    file.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in (judged, swapped, *nameless)).encode()))
    rows = read_pair_rows(file)
    assert len(rows) == 2
    assert rows[0].pair.id == "p1"
    assert {row.answer for row in rows} == {None}, "a rater's verdict is no known answer"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**GOOD, "prompt": " "}, "f.jsonl:2: prompt: must be a non-empty string"),
        ({"prompt": "Q?", "response_a": "x"}, "f.jsonl:2: response_b: missing"),
        ({**GOOD, "answer": "first"}, "f.jsonl:2: answer: must be a, b or tie, is 'first'"),
        ({**GOOD, "references": [1]}, "f.jsonl:2: references: must be a string or a list of strings"),
        ({**GOOD, "id": "1", "response_b": "z"}, "f.jsonl:2: id: '1' is another pair in an earlier line"),
        ("{", "f.jsonl:2: row: not JSON"),
    ],
)
def test_bad_rows_name_line_and_column(tmp_path: Path, row: object, message: str) -> None:
    with pytest.raises(ValueError, match="1 rows cannot be read") as error:
        read_pair_rows(jsonl(tmp_path / "f.jsonl", {**GOOD, "id": "1"}, row))
    assert message in str(error.value)


def test_files_without_pairs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is empty"):
        read_pair_rows(jsonl(tmp_path / "f.jsonl"))
    with pytest.raises(ValueError, match="does not exist; give a JSONL file of pairs"):
        read_pair_rows(tmp_path / "none.jsonl")
