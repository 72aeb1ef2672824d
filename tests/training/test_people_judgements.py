"""A stage whose raters are people: it reads their file, and refuses one of other pairs."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest

from sandwiching.configs.schema import (
    CapitalsTask,
    DataConfig,
    JudgementsConfig,
    LabelsConfig,
    PeopleFiles,
    ResourcesConfig,
)
from sandwiching.tasks.readers import hash_rater, read_judgements, write_judgements
from sandwiching.tasks.records import Judgement, Preference, Tier
from sandwiching.training.artifacts import StageFolder
from sandwiching.training.judgements import FILE, collect_judgements
from sandwiching.training.pairs import FILE as PAIRS_FILE

NAMES = [str(number) for number in range(12)]


def asked(name: str) -> dict:
    """A row of a pairs artifact."""
    texts = {"prompt": f"Question {name}?", "response_a": f"one {name}", "response_b": f"another {name}"}
    about = {"prompt_id": f"p{name}", "group": "g", "kind": "kind"}
    return {"id": name, **about, **texts, "finished_a": True, "finished_b": False}


def judged(preference: Preference = "a", tier: Tier = "weak", rater: str = "ann") -> list[Judgement]:
    """Everything by one rater, every second pair the other way round."""
    rows = []
    for place, row in enumerate(map(asked, NAMES)):
        sides = (row["response_a"], row["response_b"]) if place % 2 else (row["response_b"], row["response_a"])
        rows.append(Judgement(row["prompt"], *sides, preference, hash_rater(rater), tier, pair=row["id"], group="g"))
    return rows


def ended(rows: list[Judgement]) -> tuple[list[bool], list[bool]]:
    """response_a of a pair was finished, response_b not."""
    first = [row.response_a.startswith("one") for row in rows]
    return first, [not one for one in first]


def run(folder: Path, parents: dict[str, Path], people: Path) -> dict[str, float]:
    folder.mkdir(exist_ok=True)
    (folder / "attempt").write_text("1")
    return collect_judgements(
        task=CapitalsTask(name="capitals"),
        data=DataConfig(),
        judgements=JudgementsConfig(raters="people", people=PeopleFiles(weak=str(people))),
        labels=LabelsConfig(),
        seed=0,
        tier="weak",
        resources=ResourcesConfig(),
        parents=parents,
        folder=StageFolder(folder, 1),
        roles=None,  # pyright: ignore[reportArgumentType]
    )


@pytest.fixture
def parents(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "pairs").mkdir()
    rows = "".join(json.dumps(asked(name)) + "\n" for name in NAMES)
    (tmp_path / "pairs" / PAIRS_FILE).write_bytes(gzip.compress(rows.encode()))
    return {"pairs": tmp_path / "pairs"}


@pytest.mark.parametrize("name", ["people.jsonl", "people.jsonl.gz"])
def test_what_people_said_is_read(name: str, parents, tmp_path) -> None:
    rows = judged()
    write_judgements(tmp_path / name, rows, *ended(rows))
    metrics = run(tmp_path / "stage", parents, tmp_path / name)
    assert (metrics["judgements/judgements"], metrics["judgements/raters"], metrics["judgements/units"]) == (12, 1, 12)
    read = read_judgements(tmp_path / "stage" / FILE)
    assert [(row.judgement.response_a, row.finished_a) for row in read] == [
        (row.response_a, row.response_a.startswith("one")) for row in rows
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pair": "nobody's"}, "1 of 12 judgements are of other pairs .* pair nobody's"),
        ({"response_a": "a better one"}, "1 of 12 judgements are of other pairs"),
        ({"prompt": "Another?"}, "1 of 12 judgements are of other pairs"),
        ({"tier": "expert", "rater": "bob"}, "1 raters are not of tier weak"),
    ],
)
def test_what_was_not_asked_is_refused(change: dict, said: str, parents, tmp_path) -> None:
    rows = judged()
    sides = ended(rows)
    write_judgements(tmp_path / "people.jsonl", [replace(rows[0], **change), *rows[1:]], *sides)
    with pytest.raises(ValueError, match=said):
        run(tmp_path / "stage", parents, tmp_path / "people.jsonl")


def test_a_file_that_is_gone_is_named(parents, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"judgements\.people\.weak: .*gone.jsonl does not exist"):
        run(tmp_path / "stage", parents, tmp_path / "gone.jsonl")


def test_judgements_of_the_round_before_come_first(parents, tmp_path) -> None:
    first = judged()[:4]
    (tmp_path / "before").mkdir()
    write_judgements(tmp_path / "before" / FILE, first, *ended(first))
    new = judged("tie", rater="bob")
    write_judgements(tmp_path / "people.jsonl", new, *ended(new))
    metrics = run(tmp_path / "stage", {**parents, "judgements": tmp_path / "before"}, tmp_path / "people.jsonl")
    assert (metrics["judgements/judgements"], metrics["judgements/new"], metrics["judgements/units"]) == (16, 12, 16)
    assert metrics["judgements/ties"] == 0.75
    read = [row.judgement for row in read_judgements(tmp_path / "stage" / FILE)]
    assert read[:4] == [row.judgement for row in read_judgements(tmp_path / "before" / FILE)]
    assert {row.preference for row in read[4:]} == {"tie"}
