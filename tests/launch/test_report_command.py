"""`sandwich report`: where it looks, what it writes, what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sandwiching.launch.cli import app
from sandwiching.launch.report_command import sources
from sandwiching.launch.sweep.trials import TrialRecord, Trials


def asked(*arguments: str | Path) -> str:
    """What it prints. Raises what it raises."""
    done = CliRunner().invoke(app, ["report", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0
    return done.stdout


@pytest.fixture(scope="module")
def run(runs: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.finished_run(tmp_path_factory.mktemp("project"), planted=runs.Planted(caveat="GPT-4, doubtful."))


def test_page_and_record_lie_in_the_runs_folder(run: Path) -> None:
    assert asked(run).strip() == f"report: {run / 'report.html'}"
    record = json.loads((run / "report.json").read_text())
    assert record["run"] == "demo"
    assert "GPT-4, doubtful." in record["headline"]
    assert "name: demo" in record["config"]
    assert "name: demo" in (run / "report.html").read_text()


def test_json_is_one_object_on_standard_output(run: Path, tmp_path: Path) -> None:
    record = json.loads(asked(run, "--json", "--out", tmp_path / "deep" / "page.html"))
    assert record == json.loads((tmp_path / "deep" / "page.json").read_text())
    assert (tmp_path / "deep" / "page.html").read_text().startswith("<!doctype html>")


def test_several_runs_by_name_lie_in_this_folder(
    run: Path, runs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.finished_run(tmp_path / "runs", "other")
    monkeypatch.chdir(tmp_path)
    assert asked(run, "other").strip() == "report: report.html"
    assert [one["run"] for one in json.loads(Path("report.json").read_text())["runs"]] == ["demo", "other"]


def test_monitors_of_a_check_before_are_left_out(run: Path, runs: Any, tmp_path: Path) -> None:
    key = json.loads((run / "artifacts" / "check" / "manifest.json").read_text())["key"]
    link = run / "artifacts" / "monitor"
    for name, parent, shown in (("old", "0" * 16, False), ("own", key, True)):
        runs.artifact(
            tmp_path / f"monitor-{name}", "monitor", {"monitor.json": {"of": name}}, parents={"check": parent}
        )
        link.unlink(missing_ok=True)
        link.symlink_to(tmp_path / f"monitor-{name}")
        assert (sources(run).monitor is not None) == shown
    link.unlink()


def sweep(folder: Path, *checked: Path) -> Path:
    trials = Trials(folder)
    for number in range(3):
        trials.hold(number)
        trials.write(TrialRecord(number, {"a": 1}, state="done"))
        trials.release(number)
    for number, found in enumerate(checked):
        place = trials.folder(number)
        (place / "artifacts").mkdir()
        (place / "artifacts" / "check").symlink_to((found / "artifacts" / "check").resolve())
        (place / "config.yaml").write_text((found / "config.yaml").read_text())
    return folder


def test_a_sweep_is_all_its_trials_that_have_a_check(run: Path, tmp_path: Path) -> None:
    folder = sweep(tmp_path / "search", run, run)
    asked(folder)
    record = json.loads((folder / "report.json").read_text())
    assert [one["run"] for one in record["runs"]] == ["search, trial 0", "search, trial 1"]
    assert record["notes"] == [f"{folder}: 1 trials have no finished check: 2"]


def test_bad_input_is_one_message_and_says_what_helps(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="report: no run nowhere: neither nowhere/ nor runs/nowhere/ is a folder"):
        asked("nowhere")
    with pytest.raises(ValueError, match=r"is no run: it has no config\.yaml"):
        asked(tmp_path)
    with pytest.raises(ValueError, match=r"no trial of .* has a finished check"):
        asked(sweep(tmp_path / "search"))
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.yaml").write_text((run / "config.yaml").read_text())
    with pytest.raises(ValueError, match=r"no finished check.*`sandwich run .*begun/config.yaml` goes on to it"):
        asked(tmp_path / "begun")
    with pytest.raises(ValueError, match=r"name it \.html"):
        asked(run, "--out", tmp_path / "x.json")


def test_it_is_wrong_input_to_the_shell_and_needs_no_torch(run: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from sandwiching.launch.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: code = end.code or 0\n"
        "print(code, [name for name in ('torch', 'transformers', 'ray') if name in sys.modules])"
    )
    for arguments, said in (([run, "--out", tmp_path / "x.html"], "0 []"), ([tmp_path / "none"], "2 []")):
        call = [sys.executable, "-c", code, "report", *map(str, arguments)]
        done = subprocess.run(call, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == said
