"""The command line from outside: exit codes, one clear message for wrong input, JSON, speed."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from sandwiching.launch.cli import find_run
from sandwiching.training.artifacts import Store

SANDWICH = Path(sys.executable).parent / "sandwich"


def sandwich(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200"}
    environment.pop("RAY_ADDRESS", None)
    return subprocess.run(
        [str(SANDWICH), *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return name


WRONG = {
    "unknown config key": (["plan", "tiny", "ppo.bach_size=3"], ["ppo.bach_size", "did you mean ppo.batch_size?"]),
    "missing config file": (["plan", "missing.yaml"], ["missing.yaml", "no such file", "capitals"]),
    "missing config file of a run": (["run", "missing.yaml"], ["missing.yaml", "no such file"]),
    "missing data file": (["plan", "arguments", "data.judgements=no.jsonl"], ["data.judgements", "no.jsonl"]),
    "GPUs that are not there": (
        ["run", "tiny", "--no-ray", "resources.gpus=3", "resources.rollout_engines=3"],
        ["needs 3 GPUs", "there are 0", "resources.gpus"],
    ),
    "batches that do not divide": (
        ["run", "tiny", "ppo.batch_size=9", "ppo.minibatches=2"],
        ["ppo.batch_size=9", "ppo.minibatches=2", "8 or 10"],
    ),
    "unknown arm tier": (["plan", "tiny", "arms.weak.tier=strong"], ["arms.weak.tier", "'strong'", "weak, expert"]),
    "extends a missing file": (["plan", "extending.yaml"], ["extending.yaml: extends", "nowhere.yaml"]),
    "unknown stage": (["run", "tiny", "--only", "pppo"], ["--only", "'pppo'", "ppo"]),
    "no such base model": (["plan", "tiny", "model.path=/no/such folder"], ["model.path", "tiny"]),
    "a model folder without config.json": (["plan", "tiny", "model.path=."], ["model.path", "config.json"]),
    "no such run": (["status", "tiny"], ["runs/tiny", "sandwich run"]),
    "not an override": (["plan", "tiny", "ppo.steps"], ["ppo.steps", "key=value"]),
    "broken YAML": (["plan", "broken.yaml"], ["broken.yaml", "not YAML", "line 1"]),
}


@pytest.mark.parametrize("case", sorted(WRONG))
def test_wrong_input_is_one_message_and_exit_code_2(case: str, tmp_path: Path) -> None:
    write(tmp_path, "extending.yaml", "extends: nowhere.yaml\n")
    write(tmp_path, "broken.yaml", "name: [1\n")
    arguments, said = WRONG[case]
    done = sandwich(*arguments, folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    message = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("log: ")]
    assert len(message) == 1, done.stderr
    for part in said:
        assert part in message[0]


def test_a_failed_run_keeps_its_message(tmp_path: Path) -> None:
    sandwich("run", "tiny", "--no-ray", "resources.gpus=3", "resources.rollout_engines=3", folder=tmp_path)
    log = (tmp_path / "runs/tiny/attempts/1.log").read_text()
    assert "Traceback" in log
    done = sandwich("status", "tiny", "--json", folder=tmp_path)
    status = json.loads(done.stdout)
    assert "needs 3 GPUs" in status["last_error"]
    assert status["attempts"][0]["exit_code"] == 2
    assert not (tmp_path / "runs/store").exists() or not list((tmp_path / "runs/store").iterdir())


def test_plan_prints_one_json_object_and_writes_nothing(tmp_path: Path) -> None:
    done = sandwich("plan", "tiny", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert json.loads(done.stdout)["config"]["name"] == "tiny"
    assert list(tmp_path.iterdir()) == []


def test_plan_takes_store_and_run_dir(tmp_path: Path) -> None:
    done = sandwich("plan", "tiny", "--json", "--store", "elsewhere", "--run-dir", "here", folder=tmp_path)
    assert all(stage["folder"].startswith("elsewhere/") for stage in json.loads(done.stdout)["stages"])


def test_plan_of_a_hub_model(tmp_path: Path) -> None:
    judgements = {"prompt": "p", "response_a": "a", "response_b": "b", "preference": "a", "rater": "r", "tier": "weak"}
    file = write(tmp_path, "judgements.jsonl", json.dumps(judgements) + "\n")
    done = sandwich("plan", "tldr_pythia_1b", f"data.judgements={file}", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "key unknown until fetched" in done.stdout
    assert "1011.8 M parameters" in done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["plan", "capitals"], ["plan", "capitals_long"]])
def test_answers_within_a_second(arguments: list[str], tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = sandwich(*arguments, folder=tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0


def test_usage_errors_are_exit_code_2(tmp_path: Path) -> None:
    assert sandwich("plan", folder=tmp_path).returncode == 2
    assert sandwich("plam", "tiny", folder=tmp_path).returncode == 2


def test_find_run_by_folder_name_and_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    assert find_run("runs/mine") == find_run("mine") == Path("runs/mine")
    assert find_run("tiny") == Path("runs/tiny")


@pytest.mark.slow
def test_the_whole_pipeline_then_nothing_left_to_do(tmp_path: Path) -> None:
    done = sandwich("run", "tiny", "--no-ray", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    status = json.loads(done.stdout)
    assert {stage["state"] for stage in status["stages"]} == {"done"}
    plan = json.loads(sandwich("plan", "tiny", "--json", folder=tmp_path).stdout)
    assert {stage["action"] for stage in plan["stages"]} == {"skip"}
    store = Store(tmp_path / "runs/store")
    written = {file: file.stat().st_mtime_ns for file in store.root.rglob("*") if file.is_file()}
    again = sandwich("run", "tiny", "--no-ray", folder=tmp_path)
    assert again.returncode == 0, again.stderr
    assert {file: file.stat().st_mtime_ns for file in store.root.rglob("*") if file.is_file()} == written
