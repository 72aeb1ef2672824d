"""Labels spent in rounds, for real: PPO policies sample the next pairs, and the curve in one process is that of the
stages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sandwiching.oversight.item_records import item_records
from sandwiching.tasks.readers import read_judgements
from sandwiching.training.pairs import read_pairs

pytestmark = pytest.mark.slow

SPENT = [
    "ppo=null",
    "arms.ceiling=null",
    "labels.rounds=2",
    "labels.pairs_per_round=4",
    "reward_model.kind=probe",
    "arms.variance.labels.choose=variance",
    "check.split=dev",
]


def artifacts(done) -> dict[str, Path]:
    assert done.returncode == 0, done.stdout + done.stderr
    stages = json.loads(done.stdout)["stages"]
    assert {stage["state"] for stage in stages} == {"done"}
    return {stage["name"]: Path(stage["folder"]) for stage in stages}


def judged_pairs(artifact: Path) -> list[str | None]:
    return [row.judgement.pair for row in read_judgements(artifact / "judgements.jsonl.gz")]


def test_the_policy_of_a_round_answers_in_the_next(sandwich, tmp_path: Path) -> None:
    settings = ["labels.rounds=2", "labels.pairs_per_round=3", "arms.ceiling=null"]
    found = artifacts(sandwich("run", "tiny", "--no-ray", "--json", *settings, folder=tmp_path))
    first, second = (found[f"judgements-seed0-weak-round{turn}"] for turn in (0, 1))
    before, after = judged_pairs(first), judged_pairs(second)
    assert after[: len(before)] == before
    assert len(before) == len(after) / 2 == 3 * 2
    new = {pair.id for pair, _, _ in read_pairs(found["pairs-seed0-round1"])}
    assert set(after[len(before) :]) <= new
    assert not new & {pair.id for pair, _, _ in read_pairs(found["pairs-seed0-round0"])}
    again = sandwich("plan", "tiny", "--json", *settings, "labels.rounds=3", folder=tmp_path)
    stages = {stage["name"]: stage["action"] for stage in json.loads(again.stdout)["stages"]}
    assert {action for name, action in stages.items() if name.endswith(("round0", "round1"))} == {"skip"}
    assert stages["pairs-seed0-round2"] == "run"


def test_the_curve_in_one_process_is_that_of_the_stages(sandwich, tmp_path: Path) -> None:
    found = artifacts(sandwich("run", "tiny", "--no-ray", "--json", *SPENT, folder=tmp_path))
    drawn = sandwich("raters", "curve", "tiny", *SPENT, folder=tmp_path)
    assert drawn.returncode == 0, drawn.stdout + drawn.stderr
    curve = json.loads((tmp_path / "runs" / "tiny" / "labels.json").read_text())
    check = item_records(None, found["check"]).record()
    kept = next((tmp_path / "runs" / "experts" / "items").glob("curve-*/labels.json"))
    by_pair = json.loads(kept.read_text())
    assert by_pair["pairs"] == check["pairs"]
    assert not {"pairs", "spent"} & curve.keys(), "what is known of single pairs stays in the expert store"
    for arm in ("weak", "variance"):
        last = by_pair["spent"][arm][0][-1]
        assert last["labels"] == 2 * 4 * 2
        assert np.mean(np.array(last["outcomes"]) == check["outcomes"][arm][0]) > 0.97, "but for rounding"
    assert {one["arm"] for one in curve["compared"]} == {"variance"}
    assert (tmp_path / "runs" / "tiny" / "labels.svg").read_text().startswith("<?xml")
    chosen = [judged_pairs(found[f"judgements-{arm}-seed0-weak-round1"]) for arm in ("variance", "weak")]
    assert chosen[0][:8] == chosen[1][:8]
    assert all(len(set(pairs)) == 8 for pairs in chosen)
