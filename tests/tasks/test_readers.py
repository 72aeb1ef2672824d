import gzip
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandwiching.tasks.readers import file_fingerprint, hash_rater, read_judgements, write_judgements
from sandwiching.tasks.records import Judgement

GOOD = {"prompt": "Q?", "response_a": "x", "response_b": "y", "preference": "a", "rater": "ann", "tier": "weak"}


def jsonl(path: Path, *rows: Any) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_reads_all_columns_and_hashes_raters(tmp_path: Path) -> None:
    more = {"confidence": 0.5, "seconds": 3, "group": 7, "pair": "p1", "score_a": 1, "shown": "s", "assistance": "h"}
    rows = read_judgements(jsonl(tmp_path / "f.jsonl", {**GOOD, **more, "finished_b": False}, {**GOOD, "rater": 12}))
    first = rows[0].judgement
    assert first == Judgement(
        prompt="Q?",
        response_a="x",
        response_b="y",
        preference="a",
        rater=hash_rater("ann"),
        tier="weak",
        confidence=0.5,
        seconds=3.0,
        group="7",
        pair="p1",
        score_a=1.0,
        shown="s",
        assistance="h",
    )
    assert (rows[0].finished_a, rows[0].finished_b) == (True, False)
    assert rows[1].judgement.rater == hash_rater("12")


def test_hashed_raters_stay() -> None:
    assert hash_rater("ann").startswith("r-")
    assert hash_rater(hash_rater("ann")) == hash_rater("ann")
    assert hash_rater("ann") != hash_rater("bob")


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": " "}, "prompt"),
        ({"prompt": [{"role": "user"}]}, "prompt"),
        ({"response_a": 3}, "response_a"),
        ({"preference": "A"}, "preference"),
        ({"rater": None}, "rater"),
        ({"rater": ["ann"]}, "rater"),
        ({"tier": None}, "tier"),
        ({"tier": "gold"}, "tier"),
        ({"confidence": 1.5}, "confidence"),
        ({"confidence": float("nan")}, "confidence"),
        ({"seconds": -1}, "seconds"),
        ({"seconds": True}, "seconds"),
        ({"finished_a": "yes"}, "finished_a"),
    ],
)
def test_a_bad_row_names_file_line_and_column(tmp_path: Path, change: dict[str, Any], column: str) -> None:
    file = jsonl(tmp_path / "f.jsonl", GOOD, {**GOOD, **change})
    with pytest.raises(ValueError, match=rf"f\.jsonl:2: {column}: "):
        read_judgements(file)


def test_the_first_twenty_bad_rows_are_listed(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "f.jsonl", GOOD, *[{**GOOD, "tier": "?"}] * 30)
    with pytest.raises(ValueError, match="30 of 31 rows") as error:
        read_judgements(file)
    assert str(error.value).count("f.jsonl:") == 1 + 20
    assert "and 10 more" in str(error.value)


def test_bad_rows_can_be_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rejected = tmp_path / "run" / "rejected.jsonl"
    half = json.dumps(GOOD)[:30]
    file = jsonl(tmp_path / "f.jsonl", {**GOOD, "tier": "?"}, GOOD, half)
    with caplog.at_level(logging.WARNING):
        rows = read_judgements(file, rejected=rejected)
    assert len(rows) == 1
    assert "left out 2 of 3 rows" in caplog.text
    kept = [json.loads(line) for line in rejected.read_text().splitlines()]
    assert [row["line"] for row in kept] == [1, 3]
    assert kept[1]["row"] == half


def test_all_rows_bad_is_an_error_even_when_skipping(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 of 1 rows"):
        read_judgements(jsonl(tmp_path / "f.jsonl", "{"), rejected=tmp_path / "r.jsonl")


@pytest.mark.parametrize(
    "row", [json.dumps(GOOD)[:40], "[1]", "\udcff".encode("utf-8", "surrogateescape").decode("latin1")]
)
def test_lines_that_are_no_objects(tmp_path: Path, row: str) -> None:
    with pytest.raises(ValueError, match=r"f\.jsonl:2: row: not"):
        read_judgements(jsonl(tmp_path / "f.jsonl", GOOD, row))


def test_a_rater_has_one_tier(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "f.jsonl", GOOD, {**GOOD, "tier": "expert"})
    with pytest.raises(ValueError, match="same rater is weak in line 1"):
        read_judgements(file)


def test_defaults_stand_in(tmp_path: Path) -> None:
    bare = {name: value for name, value in GOOD.items() if name not in ("rater", "tier")}
    rows = read_judgements(jsonl(tmp_path / "f.jsonl", bare), tier="expert", rater="panel")
    assert (rows[0].judgement.tier, rows[0].judgement.rater) == ("expert", hash_rater("panel"))


def test_files_that_are_not_there_or_empty(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        read_judgements(tmp_path / "none.jsonl")
    with pytest.raises(ValueError, match="empty"):
        read_judgements(jsonl(tmp_path / "f.jsonl", ""))
    with pytest.raises(ValueError, match=r"data\.format"):
        read_judgements(jsonl(tmp_path / "f.jsonl", GOOD), "csv")


def test_a_cut_gzip_file(tmp_path: Path) -> None:
    whole = gzip.compress("".join(json.dumps({**GOOD, "pair": str(n)}) + "\n" for n in range(2000)).encode())
    file = tmp_path / "f.jsonl.gz"
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="damaged or cut off"):
        read_judgements(file)


def test_saved_dataset(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    dataset = Dataset.from_list([GOOD, {**GOOD, "prompt": "R?"}])
    dataset.save_to_disk(str(tmp_path / "set"))
    DatasetDict({"train": dataset}).save_to_disk(str(tmp_path / "sets"))
    assert [row.judgement.prompt for row in read_judgements(tmp_path / "set")] == ["Q?", "R?"]
    with pytest.raises(ValueError, match="several splits"):
        read_judgements(tmp_path / "sets")
    with pytest.raises(ValueError, match="save_to_disk"):
        read_judgements(tmp_path)
    assert file_fingerprint(tmp_path / "set") != file_fingerprint(tmp_path / "sets")


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JUDGEMENTS = st.builds(
    Judgement,
    prompt=TEXTS.filter(lambda text: text.strip() != "") | st.just(({"role": "user", "content": "hi\n"},)),
    response_a=TEXTS,
    response_b=TEXTS,
    preference=st.sampled_from(["a", "b", "tie"]),
    rater=st.integers(0, 5).map(lambda number: hash_rater(str(number))),
    tier=st.just("weak"),
    confidence=st.none() | st.floats(0, 1),
    seconds=st.none() | st.floats(0, 1e6),
    group=st.none() | TEXTS,
    pair=st.none() | TEXTS,
)


@given(rows=st.lists(st.tuples(JUDGEMENTS, st.booleans(), st.booleans()), min_size=1, max_size=5))
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    judgements, finished_a, finished_b = (list(column) for column in zip(*rows, strict=True))
    for name in ("f.jsonl", "f.jsonl.gz"):
        file = tmp_path_factory.mktemp("written") / name
        write_judgements(file, judgements, finished_a, finished_b)
        found = read_judgements(file)
        assert [row.judgement for row in found] == judgements
        assert [row.finished_a for row in found] == finished_a
        assert [row.finished_b for row in found] == finished_b


def test_the_same_judgements_give_the_same_bytes(tmp_path: Path) -> None:
    judgement = read_judgements(jsonl(tmp_path / "f.jsonl", GOOD))[0].judgement
    for name in ("one.jsonl.gz", "two.jsonl.gz"):
        write_judgements(tmp_path / name, [judgement])
    assert file_fingerprint(tmp_path / "one.jsonl.gz") == file_fingerprint(tmp_path / "two.jsonl.gz")
    assert file_fingerprint(tmp_path / "one.jsonl.gz") != file_fingerprint(tmp_path / "f.jsonl")
