"""The command itself: a real server, many raters at once, and a kill in the middle."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "page.py"


def bench(*arguments: str) -> dict[str, float]:
    command = [sys.executable, str(BENCHMARK), "--pairs", "200", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def check(result: dict[str, float]) -> None:
    assert result["accepted"] > 20
    assert (result["lost"], result["doubled"], result["strange"]) == (0, 0, 0)
    assert result["exit_code"] == 0, "SIGTERM is how a service ends"


def test_twenty_raters_at_once_lose_nothing(database: str) -> None:
    result = bench("--seconds", "2", "--database", database)
    check(result)
    assert result["retries"] == 0


@pytest.mark.slow
def test_a_killed_server_has_what_it_accepted(database: str) -> None:
    result = bench("--seconds", "12", "--kill-after", "4", "--raters", "10", "--database", database)
    check(result)
    assert result["retries"] > 0


def test_what_cannot_be_served_is_said(sandwich, tmp_path: Path) -> None:
    for arguments, message in (
        (("serve", "nothing"), "no run of this name"),
        (("export", "p.jsonl", "out.jsonl"), "nothing was collected there"),
        (("serve", "p.jsonl", "--port", "1", "--host", "192.0.2.1"), "cannot listen on 192.0.2.1:1"),
        (("export", "p.jsonl", "out.jsonl"), "nothing has been judged yet"),
        (("serve", "p.jsonl", "--gold-rate", "0.1"), "--gold FILE"),
        (("invite", "p.jsonl", "ann", "--tier", "boss"), "--tier: must be weak or expert"),
        (("serve", "p.jsonl", "--database", "oracle://x"), "--database"),
    ):
        (tmp_path / "p.jsonl").write_text('{"prompt": "Q", "response_a": "x", "response_b": "y"}\n')
        done = sandwich("raters", *arguments, folder=tmp_path)
        assert done.returncode == 2, done.stderr
        assert message in done.stderr
