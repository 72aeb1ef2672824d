"""Metrics reach TensorBoard through a process of its own, once."""

import json
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sandwiching.launch.tracking import TrackerProcess


def write(run_dir: Path, steps: int) -> None:
    artifact = run_dir / "artifacts" / "ppo-weak-seed0"
    artifact.mkdir(parents=True, exist_ok=True)
    rows = [{"step": step, "ppo/score": step / 10, "time/update": 1.0} for step in range(1, steps + 1)]
    (artifact / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def logged(run_dir: Path) -> list[tuple[int, float]]:
    events = EventAccumulator(str(run_dir / "tracking" / "ppo-weak-seed0"))
    events.Reload()
    return [(event.step, round(event.value, 6)) for event in events.Scalars("ppo/score")]


def test_every_record_is_copied_once_across_restarts(tmp_path: Path) -> None:
    for steps in (2, 4):
        write(tmp_path, steps)
        with TrackerProcess(tmp_path, "project", ["tensorboard"]):
            pass
    assert logged(tmp_path) == [(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)]


def test_no_trackers_no_process(tmp_path: Path) -> None:
    with TrackerProcess(tmp_path, "project", []) as tracker:
        assert tracker.process is None
