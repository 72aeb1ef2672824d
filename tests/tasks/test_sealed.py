"""Gold and held-out experts are closed while a training stage is at work."""

import json
import threading
from pathlib import Path

import pytest

from sandwiching.configs.schema import CapitalsTask, DataConfig, JudgementsTask, SplitsConfig
from sandwiching.tasks.capitals_gold import expert_raters, make_gold
from sandwiching.tasks.judgements import JudgementsFile
from sandwiching.tasks.judgements_gold import judged_by_all
from sandwiching.tasks.sealed import Sealed, refuse_training, training

CAPITALS = CapitalsTask(name="capitals")


def file(tmp_path: Path) -> JudgementsFile:
    rows = [
        {
            "prompt": split,
            "response_a": "x",
            "response_b": "y",
            "preference": "a",
            "rater": tier,
            "tier": tier,
            "group": split,
        }
        for split in ("train", "dev", "final")
        for tier in ("expert", "weak")
    ]
    place = tmp_path / "rows.jsonl"
    place.write_text("".join(json.dumps(row) + "\n" for row in rows))
    splits = SplitsConfig(dev_groups=["dev"], final_groups=["final"])
    return JudgementsFile(JudgementsTask(name="judgements"), DataConfig(judgements=str(place), splits=splits), 0)


def test_training_sees_no_expert_rows_of_held_out_prompts(tmp_path: Path) -> None:
    task = file(tmp_path)
    assert {(row.judgement.group, row.judgement.tier) for row in task.rows} == {
        ("train", "expert"),
        ("train", "weak"),
        ("dev", "weak"),
        ("final", "weak"),
    }
    assert [row.judgement.tier for row in judged_by_all(task, "final")] == ["expert", "weak"]


def test_a_training_stage_that_tries_gets_an_error(tmp_path: Path) -> None:
    task = file(tmp_path)
    with training("sandwiching.training.sft:train_sft"):
        with pytest.raises(Sealed, match=r"sft:train_sft tried to open expert judgements of the final split"):
            judged_by_all(task, "final")
        with pytest.raises(Sealed, match=r"tried to open gold of task capitals"):
            make_gold(CAPITALS)
        assert expert_raters(CAPITALS, DataConfig(), "training")
    assert make_gold(CAPITALS)
    assert judged_by_all(task, "final")


def test_threads_of_the_stage_are_refused_too_and_an_error_opens_again() -> None:
    found: list[BaseException] = []

    def attempt() -> None:
        try:
            refuse_training("gold")
        except Sealed as error:
            found.append(error)

    def fail() -> None:
        with training("stage"):
            thread = threading.Thread(target=attempt)
            thread.start()
            thread.join()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert len(found) == 1
    refuse_training("gold")
