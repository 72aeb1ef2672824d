"""The sbatch text: golden files show each changed line, bash and shellcheck read them. Run for real in tests/cluster.

UPDATE_GOLDEN=1 pytest tests/launch/test_slurm_script.py     writes them anew
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from sandwiching.configs.load import load
from sandwiching.launch.slurm_script import Places, render
from sandwiching.launch.submit_commands import for_sweep

GOLDEN = Path(__file__).parent / "golden"
PLACES = Places(Path("/home/me/project"), Path("/shared/runs/tiny/slurm/1"), Path("/home/me/project/.venv/bin"))
APART = Places(
    Path("/home/me/my project"),
    Path("/shared/it's 100% mine/slurm/1"),
    Path("/opt/python env/bin"),
    (Path("/shared/it's 100% mine"), Path("/shared/store")),
)
CACHED = replace(
    APART,
    folders=(*APART.folders, Path("/data/my judgements.jsonl")),
    caches={"HF_HOME": Path("/shared/models of mine"), "SANDWICHING_CACHE": Path("/home/me/.cache/sandwiching/models")},
)
TWO = ["resources.nodes=2", "resources.cpus=16"]
GPUS = ["resources.gpus=8", "resources.learner_ranks=8", "resources.rollout_engines=8", "sft.batch_size=64"]
GPUS = [*GPUS, "ppo.batch_size=64"]
SITE = [
    "slurm.account=lab",
    "slurm.partition=gpu,gpu-low",
    "slurm.qos=normal",
    "slurm.gres=gpu:a100:4",
    "slurm.constraint='[rack1|rack2]'",
    "slurm.time=2-12:00:00",
    "slurm.extra=[--mem=0,--exclusive]",
    'slurm.prologue="module purge\\nmodule load cuda/13"',
    "slurm.signal_seconds=600",
    "slurm.scratch=/scratch/local disk",
    "slurm.offline=true",
]
CASES: dict[str, tuple[list[str], Places]] = {
    "one_node": ([], PLACES),
    "two_nodes": (TWO, PLACES),
    "gpus": ([*TWO, *GPUS], PLACES),
    "pyxis_one_node": (["slurm.container.image=nvcr.io#sandwiching:1", "resources.cpus=8"], CACHED),
    "pyxis": (
        [*TWO, *GPUS, "slurm.container.image=nvcr.io#sandwiching:1", "slurm.container.mounts=[/data:/data]"],
        APART,
    ),
    "apptainer": ([*TWO, *GPUS, "slurm.container={image: /images/a b.sif, runtime: apptainer}"], APART),
    "site": ([*TWO, *GPUS, *SITE], APART),
    "sweep": (["resources.cpus=4", "sweep.parallel=4"], PLACES),
    "sweep_nodes": ([*TWO, "sweep.parallel=3"], PLACES),
    "sweep_array": (["resources.cpus=4", "sweep.parallel=4"], replace(PLACES, tasks=8)),
    "sweep_array_nodes": (TWO, replace(APART, tasks=8)),
}


def text_of(case: str) -> str:
    overrides, places = CASES[case]
    run_dir = places.log.parent.parent
    if case.startswith("sweep"):
        _, asked = for_sweep(load("tiny_sweep", overrides), places.tasks)
        return render(asked, ["sweep", f"{places.log}.yaml", "--run-dir", str(run_dir)], places)
    return render(load("tiny", overrides), ["run", f"{places.log}.yaml", "--run-dir", str(run_dir)], places)


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str) -> None:
    file = GOLDEN / f"{case}.sbatch"
    if "UPDATE_GOLDEN" in os.environ:
        file.write_text(text_of(case))
    assert text_of(case) == file.read_text()


def test_no_golden_file_is_left_over() -> None:
    assert {file.stem for file in GOLDEN.iterdir()} == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_bash_reads_it(case: str) -> None:
    done = subprocess.run(["bash", "-n"], input=text_of(case), capture_output=True, text=True, check=False, timeout=10)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("case", CASES)
def test_shellcheck_has_nothing_to_say(case: str) -> None:
    # SC2317: functions that only a trap calls.
    command = ["shellcheck", "--shell=bash", "--exclude=SC2317", "-"]
    done = subprocess.run(command, input=text_of(case), capture_output=True, text=True, check=False, timeout=30)
    assert done.stdout == ""


def test_words_survive_bash() -> None:
    script = text_of("pyxis_one_node")
    names = ("container=", "step=", "here=", "command=")
    lines = "\n".join(line for line in script.splitlines() if line.startswith(names))
    shown = f"RAY_TMPDIR=/tmp/r TMPDIR=/tmp/t SLURMD_NODENAME=n1\n{lines}\nprintf '%s\\n' \"${{command[@]}}\""
    done = subprocess.run(["bash", "-c", shown], capture_output=True, text=True, check=True, timeout=10)
    words = done.stdout.splitlines()
    assert words[-5:] == [
        "sandwich",
        "run",
        "/shared/it's 100% mine/slurm/1.yaml",
        "--run-dir",
        "/shared/it's 100% mine",
    ]
    mounts = next(word for word in words if word.startswith("--container-mounts="))
    assert mounts.partition("=")[2].split(",") == [
        "/home/me/my project:/home/me/my project",
        "/shared/it's 100% mine:/shared/it's 100% mine",
        "/shared/store:/shared/store",
        "/data/my judgements.jsonl:/data/my judgements.jsonl",
        "/shared/models of mine:/shared/models of mine",
        "/home/me/.cache/sandwiching/models:/home/me/.cache/sandwiching/models",
        "/tmp/r:/tmp/r",
        "/tmp/t:/tmp/t",
    ]


def test_what_the_site_says_wins() -> None:
    options = [line for line in text_of("site").splitlines() if line.startswith("#SBATCH")]
    assert options[-2:] == ["#SBATCH --mem=0", "#SBATCH --exclusive"]
    given = [shlex.split(line)[1] for line in options]
    assert "--constraint=[rack1|rack2]" in given
    assert "--gres=gpu:a100:4" in given


def test_gpus_are_asked_for_a_node() -> None:
    assert "#SBATCH --gres=gpu:4" in text_of("gpus").splitlines()
    assert "--gres" not in text_of("two_nodes")


def test_several_nodes_need_their_cores_named() -> None:
    with pytest.raises(ValueError, match=r"resources\.cpus"):
        render(load("tiny", ["resources.nodes=2"]), ["run"], PLACES)


def test_a_sweep_asks_for_room_for_all_its_trials() -> None:
    assert "#SBATCH --cpus-per-task=16" in text_of("sweep").splitlines()
    assert "#SBATCH --nodes=6" in text_of("sweep_nodes").splitlines()


def test_a_task_of_an_array_asks_for_one_trial_and_has_its_own_log() -> None:
    lines = text_of("sweep_array").splitlines()
    assert {"#SBATCH --array=0-7", "#SBATCH --cpus-per-task=4"} <= set(lines)
    assert "#SBATCH --output=/shared/runs/tiny/slurm/1-%a.log" in lines
    nodes = text_of("sweep_array_nodes")
    assert "100%% mine/slurm/1-%a.log" in nodes
    shown = next(line for line in nodes.splitlines() if line.startswith("log="))
    done = subprocess.run(
        ["bash", "-c", f'SLURM_ARRAY_TASK_ID=3\n{shown}\necho "$log"'], capture_output=True, text=True, check=True
    )
    assert done.stdout == "/shared/it's 100% mine/slurm/1-3\n"
