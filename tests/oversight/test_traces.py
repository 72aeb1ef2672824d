"""What training knows of the check: found in the artifacts that the checked ones were made from."""

from pathlib import Path
from typing import Any

import pytest

from sandwiching.oversight.traces import CheckSide, refuse_expert_rows, traces, training_side
from sandwiching.tasks.columns import hash_rater
from sandwiching.tasks.readers import write_judgements
from sandwiching.tasks.records import Demonstration, Judgement, Prompt, Tier
from sandwiching.training.artifacts import StageFolder, write_manifest
from sandwiching.training.lineage import lineage, of_stage

HELD_OUT = [Prompt("h0", "Who painted the ceiling?", "art", ""), Prompt("h1", "Who built the tower?", "iron", "")]
SIDE = CheckSide(HELD_OUT, frozenset({"r-check0", "r-check1"}))


def artifact(root: Path, stage: str, key: str, parents: dict[str, str], inputs: dict[str, Any] | None = None) -> Path:
    folder = root / f"{stage}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "attempt").write_text("1")
    fields = {"stage": stage, "version": 1, "key": key, "inputs": inputs or {}, "parents": parents}
    write_manifest(StageFolder(folder, 1), {**fields, "metrics": {}, "seconds": 1.0})
    return folder


def judged(root: Path, key: str, tier: Tier, *rows: tuple[str, str, Tier]) -> Path:
    """A judgements artifact of (prompt, rater, tier)."""
    folder = root / f"judgements-{key}"
    folder.mkdir(parents=True)
    found = [Judgement(prompt, "yes", "no", "a", rater, own, group="g") for prompt, rater, own in rows]
    write_judgements(folder / "judgements.jsonl.gz", found, [True] * len(rows), [True] * len(rows))
    return artifact(root, "judgements", key, {}, {"tier": tier})


def test_ancestors_are_found_by_key(tmp_path: Path) -> None:
    judged(tmp_path, "j", "weak", ("a", "r-1", "weak"))
    artifact(tmp_path, "sft", "s", {})
    artifact(tmp_path, "reward_model", "m", {"judgements": "j", "sft": "s"})
    ppo = artifact(tmp_path, "ppo", "p", {"reward_model/0": "m", "sft": "s"})
    found = lineage([ppo, tmp_path / "not an artifact"])
    assert {path.name for path in found} == {"ppo-p", "reward_model-m", "judgements-j", "sft-s"}
    assert of_stage(found, "judgements") == [tmp_path / "judgements-j"]


def test_a_clean_run_has_no_trace(tmp_path: Path) -> None:
    place = judged(tmp_path, "j", "weak", ("Who wrote the letter?", "r-000000000001", "weak"))
    trained = training_side(lineage([place]), [])
    assert traces(SIDE, trained, 0.8).total == 0
    refuse_expert_rows(trained)


def test_every_kind_of_trace_is_counted(tmp_path: Path) -> None:
    place = judged(
        tmp_path,
        "j",
        "weak",
        ("WHO painted the ceiling", "check0", "weak"),
        ("Who wrote it?", "check1", "expert"),
    )
    expert_arm = judged(tmp_path, "e", "expert", ("Who wrote it?", "someone", "expert"))
    raters = {hash_rater("check0"), hash_rater("check1")}
    side = CheckSide(HELD_OUT, frozenset(raters))
    demonstration = Demonstration(Prompt("t", "Who sings?", "song", ""), f"{next(iter(raters))} will check this")
    trained = training_side(lineage([place, expert_arm]), [demonstration])
    found = traces(side, trained, None)
    assert (found.prompts, found.raters, found.texts, found.rows) == (1, 2, 1, 1)
    assert found.total == 5
    with pytest.raises(ValueError, match=r"judgements of experts .* tier weak .*judgements-j \(1\)"):
        refuse_expert_rows(trained)
