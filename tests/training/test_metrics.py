"""metrics.jsonl across crashes."""

from pathlib import Path

import pytest

from sandwiching.training.metrics import MetricsLog, read_metrics


def test_cut_takes_back_what_a_resume_writes_again(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for step in (1, 2, 3):
        log.write({"step": step, "x": step / 10})
    log.cut(2)
    assert [record["step"] for record in read_metrics(log.path)] == [1, 2]


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"ste')
    assert read_metrics(path) == [{"step": 1}]


def test_a_number_that_is_not_finite_stops_the_stage_and_is_on_record(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    with pytest.raises(FloatingPointError, match=r"step 4: ppo/loss"):
        log.write({"step": 4, "ppo/loss": float("nan")})
    (record,) = read_metrics(log.path)
    assert record == {"step": 4, "ppo/loss": None}
