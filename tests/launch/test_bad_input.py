"""Wrong input, from the command line: one clear message, exit code 2, no traceback, and nothing left as done.

Where a tokenizer is looked at, the command runs in this process: importing transformers takes seconds each time.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandwiching.configs.schema import SplitsConfig
from sandwiching.launch.cli import main
from sandwiching.oversight.expert_store import Look, make_or_open
from sandwiching.policy.base_models import resolve

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
    "a null arm that is not there": (
        ["run", "tiny", "--no-ray", "check.null_arm=fair"],
        ["check.null_arm=fair", "is no arm of tier weak", "use one of weak"],
    ),
    "a missing ceiling": (["run", "tiny", "check.ceiling=best"], ["best is no arm", "use check.ceiling=ceiling"]),
    "unknown stage": (["run", "tiny", "--only", "pppo"], ["--only", "'pppo'", "ppo"]),
    "no such base model": (["plan", "tiny", "model.path=/no/such folder"], ["model.path", "tiny"]),
    "a model folder without config.json": (["plan", "tiny", "model.path=."], ["model.path", "config.json"]),
    "no such run": (["status", "tiny"], ["runs/tiny", "sandwich run"]),
    "not an override": (["plan", "tiny", "ppo.steps"], ["ppo.steps", "key=value"]),
    "broken YAML": (["plan", "broken.yaml"], ["broken.yaml", "not YAML", "line 1"]),
}

MINE = """
name: mine
model: {path: tiny, lora: {rank: 4}, max_length: 64}
task: {name: judgements}
data: {judgements: judgements.jsonl, holdout: group}
arms: {weak: {tier: weak}, ceiling: {tier: expert}}
ppo: {sampling: {max_new_tokens: 8}}
check: {sampling: {max_new_tokens: 8}}
"""
LONG = "Is this prompt any longer than the others are, or is it not? "
CHAT = [{"role": "user", "content": "Who?"}]
Rows = list[dict[str, Any]]
Command = Callable[..., str]


def said(errors: str) -> list[str]:
    """The lines of the message."""
    assert "Traceback" not in errors
    return [line for line in errors.splitlines() if line.strip() and not line.startswith("log: ")]


def nothing_is_done(folder: Path) -> None:
    """No artifact, none begun, no plan."""
    assert [path for path in folder.glob("runs/store/*") if path.is_dir()] == []
    assert list(folder.rglob("manifest.json")) == list(folder.rglob("plan.json")) == []


@pytest.mark.parametrize("case", sorted(WRONG))
def test_wrong_input_is_one_message_and_exit_code_2(case: str, sandwich: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "extending.yaml").write_text("extends: nowhere.yaml\n")
    (tmp_path / "broken.yaml").write_text("name: [1\n")
    arguments, parts = WRONG[case]
    done: subprocess.CompletedProcess[str] = sandwich(*arguments, folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (message,) = said(done.stderr)
    assert [part for part in parts if part not in message] == []
    nothing_is_done(tmp_path)


@pytest.fixture
def process() -> Iterator[None]:
    """Environment and signal handlers as they were: a run sets them for its process."""
    environment = dict(os.environ)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    yield
    os.environ.clear()
    os.environ.update(environment)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def refused(
    process: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Command:
    """The message with which `sandwich run CONFIG --no-ray` in tmp_path refuses: exit code 2, nothing left as done."""

    def run(config: str, *overrides: str) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["sandwich", "run", config, "--no-ray", *overrides])
        with pytest.raises(SystemExit) as stop:
            main()
        out, errors = capfd.readouterr()
        assert (stop.value.code, out) == (2, ""), errors
        nothing_is_done(tmp_path)
        (attempt,) = (tmp_path / "runs").glob("*/attempts/*.json")
        message = "\n".join(said(errors))
        assert json.loads(attempt.read_text())["message"] == message
        return message

    return run


def rows() -> Rows:
    """A weak and an expert judgement in each of 12 groups."""
    shown = {"response_a": "yes", "response_b": "no", "preference": "a"}
    return [
        {"prompt": f"Question {group}?", **shown, "rater": f"{tier} person", "tier": tier, "group": f"g{group}"}
        for group in range(12)
        for tier in ("weak", "expert")
    ]


def write(folder: Path, judgements: Rows, cut: int = 0) -> None:
    """mine.yaml and its judgements, `cut` bytes short."""
    (folder / "mine.yaml").write_text(MINE)
    text = "".join(json.dumps(row) + "\n" for row in judgements)
    (folder / "judgements.jsonl").write_text(text[: len(text) - cut])


def model_folder(folder: Path, file: str, change: Callable[[dict[str, Any]], None]) -> str:
    """A copy of the tiny model with a change in one of its JSON files. Returns the override that names it."""
    shutil.copytree(resolve("tiny"), folder / "model")
    content = json.loads((folder / "model" / file).read_text())
    change(content)
    (folder / "model" / file).write_text(json.dumps(content))
    return f"model.path={folder / 'model'}"


def test_a_missing_file(refused: Command, tmp_path: Path) -> None:
    write(tmp_path, rows())
    assert "data.judgements" in (message := refused("mine.yaml", "data.judgements=no.jsonl"))
    assert "no.jsonl does not exist" in message


def test_an_empty_file(refused: Command, tmp_path: Path) -> None:
    write(tmp_path, [])
    assert "judgements.jsonl: the file is empty; it needs one judgement a line" in refused("mine.yaml")


def test_half_a_json_line(refused: Command, tmp_path: Path) -> None:
    write(tmp_path, rows(), cut=40)
    head, row = refused("mine.yaml").splitlines()
    assert "1 of 24 rows cannot be read; mend them, or set data.skip_bad_rows: true" in head
    assert "judgements.jsonl:24: row: not JSON" in row
    assert "is the line cut off?" in row


def test_a_rater_without_tier(refused: Command, tmp_path: Path) -> None:
    judgements = rows()
    del judgements[2]["tier"]
    write(tmp_path, judgements)
    _, row = refused("mine.yaml").splitlines()
    assert "judgements.jsonl:3: tier: missing; add weak or expert, or set data.tier" in row


def test_only_bad_rows_left_out_and_listed_beside_the_run(refused: Command, tmp_path: Path) -> None:
    write(tmp_path, [{"prompt": "Who?"}])
    assert "1 of 1 rows cannot be read" in refused("mine.yaml", "data.skip_bad_rows=true")
    assert json.loads((tmp_path / "runs/mine/rejected.jsonl").read_text())["line"] == 1


TOO_LONG = {
    "a demonstration": ([], ["demonstrations are longer than model.max_length=40", "'Is this prompt any"]),
    "a judged text": (["sft=null"], ["judgements are longer than model.max_length=40", "'Is this prompt any"]),
    "a prompt of PPO": (
        ["sft=null", "model.max_length=80", "ppo.sampling.max_new_tokens=30"],
        ["prompts with 30 tokens for a response are longer than model.max_length=80", "'Is this prompt any"],
    ),
    "the only prompts of PPO": (
        ["sft=null", "model.max_length=80", "ppo.sampling.max_new_tokens=79", "data.too_long=drop"],
        ["none of", "prompts with 79 tokens for a response fits model.max_length=80"],
    ),
}


@pytest.mark.parametrize("case", sorted(TOO_LONG))
def test_a_training_prompt_longer_than_the_context(case: str, refused: Command, tmp_path: Path) -> None:
    """Every group has one, so that the training split has some."""
    overrides, parts = TOO_LONG[case]
    write(tmp_path, [*rows(), *({**row, "prompt": LONG + row["prompt"][-4:]} for row in rows())])
    message = refused("mine.yaml", "model.max_length=40", *overrides)
    assert "\n" not in message
    assert [part for part in parts if part not in message] == []


def test_a_held_out_prompt_longer_than_the_context(refused: Command, tmp_path: Path) -> None:
    judgements = rows()
    for row in judgements[:2]:
        row["prompt"] = LONG
    write(tmp_path, judgements)
    message = refused("mine.yaml", "data.splits.final_groups=[g0]", "ppo=null")
    assert "check: 1 of 1 expert pairs have a text longer than model.max_length=64 tokens: raise it" in message


def test_a_held_out_prompt_that_is_trained_on(refused: Command, tmp_path: Path) -> None:
    judgements = rows()
    for row in judgements[:4]:
        row["prompt"] = "Which one do you prefer?"
    for row in judgements[:2]:
        row["prompt"] = row["prompt"].upper().replace(" DO", "  DO")
    write(tmp_path, judgements)
    message = refused("mine.yaml", "data.splits.dev_groups=[g4]", "data.splits.final_groups=[g0]")
    assert "\n" not in message
    assert "1 of 2 held-out prompts are in the training split too (1 word for word" in message
    assert "check.overlap" in message


def test_an_expert_store_of_another_project(refused: Command, tmp_path: Path) -> None:
    write(tmp_path, rows())
    make_or_open(tmp_path / "runs" / "experts", None, "theirs")
    message = refused("mine.yaml")
    assert "\n" not in message
    assert "experts is the expert store of another project: it was made for data.splits.salt='theirs'" in message


def test_a_ledger_of_another_project(refused: Command, tmp_path: Path) -> None:
    write(tmp_path, rows())
    stores = [make_or_open(tmp_path / name, None, SplitsConfig().salt) for name in ("theirs", "ours")]
    stores[0].look(Look("check-a", "theirs", "final", "check", {}, 1), 20)
    stores[1].ledger.file.write_bytes(stores[0].ledger.file.read_bytes())
    message = refused("mine.yaml", "check.store=ours")
    assert "\n" not in message
    assert f"line 1 is of another project: of store {stores[0].id}" in message


@pytest.mark.parametrize("stage", ["pairs", "ppo", "check"])
def test_a_prompt_without_room_for_a_response(stage: str, refused: Command) -> None:
    """Of facts: held-out prompts in the check."""
    message = refused("tiny", f"{stage}.sampling.max_new_tokens=230")
    assert "prompts with 230 tokens for a response are longer than model.max_length=256" in message
    assert "raise model.max_length, or set data.too_long: drop" in message


def test_a_context_longer_than_the_models(refused: Command) -> None:
    message = refused("tiny", "model.max_length=4096")
    assert "model.max_length=4096 is longer than the context of tiny" in message
    assert "set model.max_length=1024, or less" in message


def test_a_model_without_chat_template(refused: Command, tmp_path: Path) -> None:
    """The message is of a held-out prompt: the others are strings."""
    judgements = rows()
    for row in judgements[:2]:
        row["prompt"] = CHAT
    write(tmp_path, judgements)
    model = model_folder(tmp_path, "tokenizer_config.json", lambda content: None)
    (tmp_path / "model" / "chat_template.jinja").unlink()
    message = refused("mine.yaml", model, "data.splits.final_groups=[g0]")
    assert message == (
        "prompt: chat messages need a tokenizer with a chat template; give the prompt as a string, or another model"
    )


def test_a_tokenizer_that_pads_with_its_eos(refused: Command, tmp_path: Path) -> None:
    """And reserves no token that could stand in."""

    def pads_with_eos(content: dict[str, Any]) -> None:
        content["pad_token"] = content["eos_token"]
        content["extra_special_tokens"] = []

    model = model_folder(tmp_path, "tokenizer_config.json", pads_with_eos)
    file = tmp_path / "model" / "tokenizer.json"
    content = json.loads(file.read_text())
    for token in content["added_tokens"]:
        token["special"] = token["content"] in ("<bos>", "<eos>")
    file.write_text(json.dumps(content))
    message = refused("tiny", model)
    assert "model.pad_token: the tokenizer in" in message
    assert "pads with its eos '<eos>' and reserves no token; name a token that never occurs in text" in message


def test_a_pad_token_that_is_the_eos(refused: Command) -> None:
    message = refused("tiny", "model.pad_token=<eos>")
    assert "model.pad_token: '<eos>' must be in the vocabulary" in message
    assert "not its eos" in message
