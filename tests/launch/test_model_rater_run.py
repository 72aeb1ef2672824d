"""`sandwich run` with a language model as the rater and another as its assistant."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandwiching.tasks.readers import read_judgements

SETTINGS = [
    "judgements={raters: model, raters_per_pair: 1, model: {path: tiny, max_new_tokens: 6}}",
    "judgements={assistance: dishonest, assistant: tiny}",
    "sft=null",
    "arms.ceiling=null",
    "check.ceiling=none",
    "tracking.to=[]",
]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["--no-ray", "--ray"])
def test_a_run_judges_with_a_model_that_another_advises(sandwich, tmp_path: Path, how: str) -> None:
    done = sandwich("run", "tiny", "--only", "judgements", how, *SETTINGS, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = read_judgements(tmp_path / "runs" / "tiny" / "artifacts" / "judgements-seed0-weak" / "judgements.jsonl.gz")
    assert len({row.judgement.pair for row in rows}) == len(rows)
    assert len({row.judgement.rater for row in rows}) == 1
    assert all("is the better response." in str(row.judgement.assistance) for row in rows)
    assert all(str(row.judgement.shown).startswith("both orders") for row in rows)
