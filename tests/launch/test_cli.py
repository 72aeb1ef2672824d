"""The command line from outside: exit codes, what a failed run leaves, JSON, speed. Wrong input: test_bad_input.py."""

from __future__ import annotations

import json
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sandwiching.launch.cli import find_run
from sandwiching.training.artifacts import Store

Sandwich = Callable[..., subprocess.CompletedProcess[str]]


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return name


def test_a_failed_run_keeps_its_message(sandwich: Sandwich, tmp_path: Path) -> None:
    sandwich("run", "tiny", "--no-ray", "resources.gpus=3", "resources.rollout_engines=3", folder=tmp_path)
    log = (tmp_path / "runs/tiny/attempts/1.log").read_text()
    assert "Traceback" in log
    done = sandwich("status", "tiny", "--json", folder=tmp_path)
    status = json.loads(done.stdout)
    assert "needs 3 GPUs" in status["last_error"]
    assert status["attempts"][0]["exit_code"] == 2
    assert not (tmp_path / "runs/store").exists() or not list((tmp_path / "runs/store").iterdir())


def test_plan_prints_one_json_object_and_writes_nothing(sandwich: Sandwich, tmp_path: Path) -> None:
    done = sandwich("plan", "tiny", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert json.loads(done.stdout)["config"]["name"] == "tiny"
    assert list(tmp_path.iterdir()) == []


def test_plan_takes_store_and_run_dir(sandwich: Sandwich, tmp_path: Path) -> None:
    done = sandwich("plan", "tiny", "--json", "--store", "elsewhere", "--run-dir", "here", folder=tmp_path)
    assert all(stage["folder"].startswith("elsewhere/") for stage in json.loads(done.stdout)["stages"])


def test_plan_has_the_sbatch_text_of_a_site(sandwich: Sandwich, tmp_path: Path) -> None:
    text = json.loads(sandwich("plan", "tiny", "--json", "slurm.partition=gpu", folder=tmp_path).stdout)["sbatch"]
    assert text == sandwich("submit", "slurm", "tiny", "--dry-run", "slurm.partition=gpu", folder=tmp_path).stdout
    assert "#SBATCH --partition=gpu" in sandwich("plan", "tiny", "slurm.partition=gpu", folder=tmp_path).stdout
    assert json.loads(sandwich("plan", "tiny", "--json", folder=tmp_path).stdout)["sbatch"] is None


def test_plan_of_a_hub_model(sandwich: Sandwich, tmp_path: Path) -> None:
    judgements = {"prompt": "p", "response_a": "a", "response_b": "b", "preference": "a", "rater": "r", "tier": "weak"}
    file = write(tmp_path, "judgements.jsonl", json.dumps(judgements) + "\n")
    done = sandwich("plan", "tldr_pythia_1b", f"data.judgements={file}", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "key unknown until fetched" in done.stdout
    assert "1011.8 M parameters" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["plan", "capitals"],
        ["plan", "capitals_long"],
        ["submit", "slurm", "--help"],
        ["submit", "slurm", "capitals", "--dry-run"],
    ],
)
def test_answers_within_a_second(sandwich: Sandwich, arguments: list[str], tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = sandwich(*arguments, folder=tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0


def test_usage_errors_are_exit_code_2(sandwich: Sandwich, tmp_path: Path) -> None:
    assert sandwich("plan", folder=tmp_path).returncode == 2
    assert sandwich("plam", "tiny", folder=tmp_path).returncode == 2


def test_find_run_by_folder_name_and_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    assert find_run("runs/mine") == find_run("mine") == Path("runs/mine")
    assert find_run("tiny") == Path("runs/tiny")


@pytest.mark.slow
def test_the_whole_pipeline_then_nothing_left_to_do(sandwich: Sandwich, tmp_path: Path) -> None:
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
