"""What a user sees of stages at work, on a terminal and in a log file."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import pytest
from rich.console import Console

from sandwiching.launch import progress
from sandwiching.launch.progress import ProgressView
from sandwiching.training.artifacts import Store, write_manifest


def test_a_log_file_gets_a_line_when_a_stage_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    monkeypatch.setattr(progress, "POLL_SECONDS", 0.01)
    out = io.StringIO()
    fields = {"stage": "sft", "version": 1, "key": "0" * 16, "inputs": {}, "parents": {}, "metrics": {}}
    with Store(tmp_path).claim("sft", "0" * 16, on_wait=print) as folder, ProgressView(Console(file=out)) as view:
        (folder.path / "metrics.jsonl").write_text(json.dumps({"step": 3, "sft/loss": 0.25}) + "\n")
        (folder.path / "progress.json").write_text(json.dumps({"step": 3, "total": 8}))
        view.watch({"sft/seed0": folder.path})
        deadline = time.monotonic() + 10
        while "3/8" not in out.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        write_manifest(folder, {**fields, "seconds": 61.4, "environment": {}})
        view.done("sft/seed0", skipped=False)
    assert out.getvalue().count("at work  sft/seed0  3/8  sft/loss 0.25\n") == 1
    assert "done     sft/seed0  61 s" in out.getvalue()


def test_skipped_stages_are_named_once(tmp_path: Path) -> None:
    out = io.StringIO()
    with ProgressView(Console(file=out)) as view:
        view.done("sft/seed0", skipped=True)
    assert out.getvalue().split() == ["finished", "before", "sft/seed0"]
