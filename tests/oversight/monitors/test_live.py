"""What a second start makes of a file of alarms that a kill cut off."""

from pathlib import Path

from sandwiching.oversight.monitors.live import told


def test_a_line_that_was_cut_off_is_taken_away_and_its_snapshot_read_again(tmp_path: Path) -> None:
    file = tmp_path / "alarms.jsonl"
    assert told(file) == set()
    file.write_text('{"run": "weak/seed0", "updates": 4}\n{"run": "weak/seed0", "upda')
    assert told(file) == {("weak/seed0", 4)}
    assert file.read_text() == '{"run": "weak/seed0", "updates": 4}\n'
