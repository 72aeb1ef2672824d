import json
from pathlib import Path
from typing import Any

import pytest

from sandwiching.configs.schema import DataConfig, JudgementsTask, SplitsConfig
from sandwiching.tasks.judgements import JudgementsFile, prompt_id, read_rows
from sandwiching.tasks.records import SPLITS

TASK = JudgementsTask(name="judgements")


def row(prompt: str, a: str, b: str, preference: str, rater: str = "ann", **more: Any) -> dict[str, Any]:
    columns = {"prompt": prompt, "response_a": a, "response_b": b, "preference": preference, "rater": rater}
    return {**columns, "tier": "weak", "group": prompt, **more}


def data(tmp_path: Path, *rows: dict[str, Any], **options: Any) -> DataConfig:
    file = tmp_path / "f.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return DataConfig(judgements=str(file), **options)


def three(**more: Any) -> list[dict[str, Any]]:
    return [row(name, "x", "y", "a", **more) for name in ("train", "dev", "final")]


LISTS = SplitsConfig(dev_groups=["dev"], final_groups=["final"])


def test_prompts_by_split(tmp_path: Path) -> None:
    task = JudgementsFile(TASK, data(tmp_path, *three(), *three(), splits=LISTS), 0)
    assert [[prompt.text for prompt in task.prompts(split)] for split in SPLITS] == [["train"], ["dev"], ["final"]]


def test_demonstrations_are_what_the_weak_majority_prefers(tmp_path: Path) -> None:
    rows = [
        *three()[1:],
        row("train", "good", "bad", "a", "ann"),
        row("train", "bad", "good", "b", "bob"),
        row("train", "good", "bad", "b", "cis"),
        row("train", "bad", "worse", "a", "ann"),
        row("train", "even", "odd", "tie", "ann"),
        row("train", "expert's", "good", "a", "eve", tier="expert"),
        row("train", "cut off", "worse", "a", "ann", finished_a=False),
    ]
    task = JudgementsFile(TASK, data(tmp_path, *rows, splits=LISTS), 0)
    assert [(one.prompt.text, one.response) for one in task.demonstrations()] == [("train", "good")]


def test_hold_out_by_prompt_needs_no_groups(tmp_path: Path) -> None:
    rows = [row(f"prompt {number}", "x", "y", "a", group=None) for number in range(10)]
    config = data(tmp_path, *rows, holdout="prompt")
    task = JudgementsFile(TASK, config, 0)
    assert sum(len(task.prompts(split)) for split in SPLITS) == 10
    assert {one.judgement.group for one in read_rows(config)} == {prompt_id(f"prompt {number}") for number in range(10)}
    with pytest.raises(ValueError, match=r"10 of 10 rows .* have no group"):
        JudgementsFile(TASK, data(tmp_path, *rows), 0)


def test_one_prompt_in_two_groups(tmp_path: Path) -> None:
    rows = [*three(), row("train", "x", "y", "a", group="dev")]
    with pytest.raises(ValueError, match="one prompt stands in groups 'train' and 'dev'"):
        JudgementsFile(TASK, data(tmp_path, *rows, splits=LISTS), 0)


def test_rejected_rows_go_where_they_are_sent(tmp_path: Path) -> None:
    config = data(tmp_path, *three(), {"prompt": "half"}, splits=LISTS, skip_bad_rows=True)
    JudgementsFile(TASK, config, 0, rejected=tmp_path / "rejected.jsonl")
    assert (tmp_path / "rejected.jsonl").read_text().count("\n") == 1
    JudgementsFile(TASK, config, 0)
    assert (tmp_path / "f.jsonl.rejected.jsonl").is_file()


def test_what_it_cannot_do(tmp_path: Path) -> None:
    task = JudgementsFile(TASK, data(tmp_path, *three(), splits=LISTS), 0)
    with pytest.raises(ValueError, match="no check panel"):
        task.weak_raters("check")
    with pytest.raises(ValueError, match="needs a file"):
        JudgementsFile(TASK, DataConfig(), 0)
    with pytest.raises(ValueError, match=r"data\.holdout"):
        read_rows(data(tmp_path, *three(), holdout="topic"))
