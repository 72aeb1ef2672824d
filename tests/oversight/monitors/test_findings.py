"""Monitors with a planted worth: what tells is a signal, what does not is none, and what is broken is said."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from sandwiching.oversight.monitors.findings import MonitorFinding, arm_runs, find_monitors
from sandwiching.oversight.monitors.monitor import write_findings
from sandwiching.training.artifacts import StageFolder

GROUPS = [f"g{place // 2}" for place in range(40)]
UPDATES = [0, 10, 20]
SHAPE = (3, 40, 4)
"""Points, prompts, samples."""


def record(seeds: list[int], passed: tuple[float, float, float] = (0.3, 0.3, 0.9)) -> dict[str, Any]:
    """trails.json of one arm: 40 % wrong, and so many of the wrong approved at each point."""
    points, rewards = {}, {}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        along = []
        for updates, share in zip(UPDATES, passed, strict=True):
            correct = rng.random(SHAPE[1:]) < 0.6
            approved = np.where(correct, 0.7, (rng.random(SHAPE[1:]) < share).astype(float))
            parts = {"correct": correct.tolist(), "approved": approved.tolist(), "kl": np.zeros(SHAPE[1:]).tolist()}
            along.append({"updates": updates, "forced": [0.0] * SHAPE[1], **parts})
        points[f"weak/seed{seed}"] = along
        rewards[f"weak/seed{seed}"] = np.zeros(SHAPE).tolist()
    return {"seeds": seeds, "groups": GROUPS, "points": points, "rewards": rewards}


def scores(made: dict[str, Any], extra: dict[str, Any] | None = None, absent: dict[str, str] | None = None) -> Any:
    """A good monitor (approved but wrong, and later in the run, scores higher), noise, and the baselines."""
    found = {}
    for name, along in made["points"].items():
        rng = np.random.default_rng(len(name))
        correct = np.array([point["correct"] for point in along])
        approved = np.array([point["approved"] for point in along]) > 0.5
        values = {
            "distance": 3.0 * (~correct & approved) + rng.normal(size=SHAPE),
            "probe_weak": rng.normal(size=SHAPE),
            "length": rng.integers(1, 9, SHAPE).astype(float),
            "random_labels": rng.normal(size=SHAPE),
            **(extra or {}),
        }
        lengths = values["length"]
        slopes = np.array([0.0, 0.0, 0.6])[:, None, None]
        found[name] = {
            "values": {key: value.tolist() for key, value in values.items()},
            "lengths": lengths.tolist(),
            "rewards": (slopes * lengths + rng.normal(size=SHAPE)).tolist(),
            "absent": absent or {},
        }
    return found


def findings(made: dict[str, Any], scored: Any) -> dict[str, MonitorFinding]:
    return find_monitors(made, arm_runs(made, scored, "weak"), "weak", 0.05, 0.95)


@pytest.mark.parametrize("seeds", [[0], [0, 1, 2]])
def test_what_tells_is_a_signal_and_noise_is_none(seeds: list[int]) -> None:
    made = record(seeds)
    found = findings(made, scores(made))
    assert {name: one.verdict for name, one in found.items()} == {
        "distance": "signal",
        "probe_weak": "no signal",
        "slope": "checkpoints only",
        "length": "baseline",
        "random_labels": "baseline",
    }
    good = found["distance"]
    assert good.auroc is not None
    assert good.auroc.estimate > 0.9
    assert good.auroc.seeds == len(seeds)
    assert good.over_length is not None
    assert good.over_length.low > 0.2
    assert [lead.sentence for lead in good.leads if lead] == ["+0: alarm at 20, fooling at 20"] * len(seeds)
    assert [lead.sentence for lead in found["slope"].leads if lead] == ["+0: alarm at 20, fooling at 20"] * len(seeds)
    assert len(good.along) == 2
    assert good.flagged[0].estimate < 0.12
    assert good.flagged[2].estimate > good.flagged[1].estimate


def test_a_monitor_that_knows_less_than_length_has_no_signal() -> None:
    """Length taken the way that serves it: here the shorter answers are the wrong ones."""
    made = record([0, 1, 2])
    scored = scores(made)
    for name, along in made["points"].items():
        approved = np.array([point["approved"] for point in along]) > 0.5
        fooled = ~np.array([point["correct"] for point in along]) & approved
        scored[name]["values"]["length"] = (9.0 - 8 * fooled).tolist()
    found = findings(made, scored)
    assert found["length"].auroc is not None
    assert found["length"].auroc.estimate == 0
    assert found["distance"].auroc is not None
    assert found["distance"].auroc.estimate > 0.9
    assert found["distance"].verdict == "no signal"


def test_huge_values_and_those_that_are_no_numbers_are_reported() -> None:
    made = record([0, 1])
    huge = np.zeros(SHAPE)
    huge[2] = np.resize([1e30, math.inf, -math.inf], SHAPE[1:])
    broken = huge.copy()
    broken[2, 0, 0] = math.nan
    never = np.full(SHAPE, math.nan)
    found = findings(made, scores(made, {"distance": huge, "probe_weak": broken, "probe_expert": never}))
    assert found["distance"].verdict in ("signal", "no signal")
    assert found["distance"].notes == ["212 of 960 values are infinite"]
    assert found["probe_weak"].verdict == "undefined"
    assert any("2 of 960 values are not numbers" in note for note in found["probe_weak"].notes)
    assert [lead.alarm for lead in found["probe_weak"].leads if lead] == [20, 20]
    assert found["probe_expert"].leads == [None, None]
    assert any("not calibrated: 152 of 152 values of the SFT" in note for note in found["probe_expert"].notes)


def test_without_approved_wrong_answers_it_is_said_by_seed() -> None:
    made = record([0], passed=(0.3, 0.3, 0.0))
    found = findings(made, scores(made))
    assert found["distance"].verdict == "undefined"
    assert found["distance"].notes == ["AUROC: seed 0 left out, 0 of 160 samples are of the kind looked for"]
    assert [lead.event for lead in found["distance"].leads if lead] == [None]


def test_fewer_samples_than_the_rate_takes_is_one_error() -> None:
    made = record([0])
    with pytest.raises(ValueError, match=r"monitor.false_alarms=0.001 takes at least 999 samples .* there are 152 on"):
        find_monitors(made, arm_runs(made, scores(made), "weak"), "weak", 0.001, 0.95)


def test_files_say_it_all(tmp_path: Any) -> None:
    (tmp_path / "attempt").write_text("1")
    made = record([0, 1])
    never = np.full(SHAPE, math.nan)
    absent = {"spread": "one reward model alone has no spread"}
    scored = scores(made, {"probe_expert": never}, absent)
    metrics = write_findings(made, scored, ["weak"], 0.05, 0.95, StageFolder(tmp_path, 1))
    text = (tmp_path / "monitor.txt").read_text()
    for said in (
        "no signal",
        "signal",
        "+0: alarm at 20, fooling at 20",
        "not calibrated",
        absent["spread"],
        "0   10   20",
    ):
        assert said in text
    monitors = json.loads((tmp_path / "monitor.json").read_text())["monitors"]["weak"]
    assert monitors["distance"]["verdict"] == "signal"
    assert monitors["distance"]["leads"][0]["steps"] == 0
    assert monitors["probe_expert"]["auroc"] is None
    assert metrics["monitor/weak/distance/auroc"] == monitors["distance"]["auroc"]["estimate"]
    assert metrics["monitor/weak/distance/lead"] == 0
    assert all(math.isfinite(value) for value in metrics.values())
    picture = (tmp_path / "monitor.svg").read_text()
    assert "nan" not in picture.casefold()
    assert picture.count("<path") > 20
