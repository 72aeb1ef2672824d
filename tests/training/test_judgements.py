"""The judgements stage with every kind of weak rater: its rows, what it keeps, what a restart does not ask again."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandwiching.configs.schema import (
    CapitalsTask,
    DataConfig,
    JudgementsConfig,
    JudgementsTask,
    LabelsConfig,
    ModelRaterConfig,
    PeopleKind,
    ResourcesConfig,
)
from sandwiching.launch.local import LocalRoles
from sandwiching.tasks.capitals import Capitals
from sandwiching.tasks.chat_client import ChatError
from sandwiching.tasks.readers import JudgementRow, read_judgements, write_judgements
from sandwiching.tasks.records import Judgement
from sandwiching.training.artifacts import StageFolder
from sandwiching.training.judgements import FILE, collect_judgements
from sandwiching.training.language_model import language_model
from sandwiching.training.pairs import read_pairs

CAPITALS = CapitalsTask(name="capitals", max_prompts=6, raters=4)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A pairs artifact: two answers to each of a few prompts, the second not finished."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    rows = [
        {
            "id": f"{prompt.id}/0-1",
            "prompt_id": prompt.id,
            "prompt": prompt.text,
            "group": prompt.group,
            "kind": prompt.kind,
            "response_a": "It is Rome",
            "response_b": "It is surely Paris, I say",
            "finished_a": True,
            "finished_b": False,
        }
        for prompt in Capitals(CAPITALS, DataConfig(), 0).prompts("train")
    ]
    (folder / "pairs.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return folder


def collect(
    folder: StageFolder,
    parents: dict[str, Path],
    judgements: JudgementsConfig,
    tier: Any = "weak",
    **changed: Any,
) -> tuple[list[JudgementRow], dict[str, float]]:
    resources = ResourcesConfig(rollout_batch=8)
    given: dict[str, Any] = {"task": CAPITALS, "data": DataConfig(), "labels": LabelsConfig(), **changed}
    metrics = collect_judgements(
        judgements=judgements,
        seed=0,
        tier=tier,
        resources=resources,
        parents=parents,
        folder=folder,
        roles=LocalRoles(resources),
        **given,
    )
    return read_judgements(folder.path / FILE), metrics


def test_a_local_model_judges_with_the_help_of_another(
    pairs: Path, stage_folder: Callable[[str], StageFolder], tiny: Path
) -> None:
    model = ModelRaterConfig(path=str(tiny), max_new_tokens=6)
    alone, _ = collect(
        stage_folder("alone"), {"pairs": pairs}, JudgementsConfig(raters_per_pair=1, raters="model", model=model)
    )
    assert len(alone) == 6
    assert {row.judgement.assistance for row in alone} == {None}
    assert all("with a first" in str(row.judgement.shown) for row in alone)
    assert {(row.finished_a, row.finished_b) for row in alone} == {(True, False)}
    assert len({row.judgement.rater for row in alone}) == 1
    for help_ in ("honest", "dishonest"):
        settings = JudgementsConfig(
            raters_per_pair=1, raters="model", model=model, assistance=help_, assistant=str(tiny)
        )
        helped, _ = collect(stage_folder(help_), {"pairs": pairs}, settings)
        assert all("is the better response." in str(row.judgement.assistance) for row in helped)
    sft = pairs.parent / "sft"
    sft.mkdir()
    (sft / "model").symlink_to(tiny)
    settings.assistant = None
    policy, _ = collect(stage_folder("policy"), {"pairs": pairs, "sft": sft}, settings)
    assert policy == helped
    written = ModelRaterConfig(path=str(tiny), answer="text", max_new_tokens=4, disagreement="tie", most_unread=1.0)
    settings = JudgementsConfig(raters_per_pair=1, raters="model", model=written)
    text, metrics = collect(stage_folder("text"), {"pairs": pairs}, settings)
    assert {row.judgement.preference for row in text} <= {"a", "b", "tie"}
    assert metrics["judgements/unread"] == 1.0, "a model of random weights says nothing"


def test_a_server_judges_and_a_restart_asks_nothing_again(
    pairs: Path, stage_folder: Callable[[str], StageFolder], chat_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    chat_server.trouble = {"Rome": [429]}
    model = ModelRaterConfig(
        url=chat_server.url,
        name="some-model",
        answer="text",
        backoff=0.01,
        key_variable="SOME_KEY",
        price_in=1e6,
        price_out=1e6,
    )
    settings = JudgementsConfig(raters_per_pair=1, raters="model", model=model)
    folder = stage_folder("server")
    rows, metrics = collect(folder, {"pairs": pairs}, settings)
    assert metrics["judgements/unread"] == 0
    # The server takes the longer response.
    assert {row.judgement.preference for row in rows} == {"b"}
    assert metrics["judgements/requests"] == 12
    assert metrics["judgements/retries"] == 1
    assert metrics["judgements/cost"] == metrics["judgements/tokens_in"] + metrics["judgements/tokens_out"] > 0
    assert chat_server.keys == {"Bearer sk-secret"}
    for file in folder.cache.glob("orders_*.json"):
        file.unlink()
    asked = chat_server.seen.total()
    again, more = collect(folder, {"pairs": pairs}, settings)
    assert again == rows
    assert chat_server.seen.total() == asked
    assert (more["judgements/requests"], more["judgements/cached"]) == (12, 12)
    assert not [file for file in folder.path.rglob("*") if file.is_file() and b"sk-secret" in file.read_bytes()]


def test_what_a_killed_attempt_paid_is_counted(
    pairs: Path, stage_folder: Callable[[str], StageFolder], chat_server: Any
) -> None:
    # Four pairs of six are answered; the server refuses the rest for good.
    model = ModelRaterConfig(url=chat_server.url, name="m", answer="text", concurrency=1, retries=0)
    settings = JudgementsConfig(raters_per_pair=1, raters="model", model=model)
    last = read_pairs(pairs)[4][0].prompt.text
    chat_server.trouble = {str(last): [400]}
    folder = stage_folder("server")
    with pytest.raises(ChatError):
        collect(folder, {"pairs": pairs}, settings)
    paid = json.loads((folder.cache / "usage.json").read_text())["requests"]
    assert paid == 4
    _, metrics = collect(folder, {"pairs": pairs}, settings)
    assert metrics["judgements/requests"] == 12, "each question once"


def test_too_many_answers_without_a_verdict_stop_the_stage_and_are_shown(
    pairs: Path, stage_folder: Callable[[str], StageFolder], chat_server: Any
) -> None:
    chat_server.says = "It depends on whether A is better than B."
    model = ModelRaterConfig(url=chat_server.url, name="some-model", answer="text")
    folder = stage_folder("server")
    with pytest.raises(ValueError, match=r"12 of 12 answers .*'It depends on .*most_unread=0\.1") as refused:
        collect(folder, {"pairs": pairs}, JudgementsConfig(raters_per_pair=1, raters="model", model=model))
    assert str(refused.value).count("It depends") == 1
    model.most_unread = 1.0
    asked = chat_server.seen.total()
    rows, metrics = collect(folder, {"pairs": pairs}, JudgementsConfig(raters_per_pair=1, raters="model", model=model))
    assert {(row.judgement.preference, row.judgement.confidence) for row in rows} == {("tie", 0.5)}
    assert metrics["judgements/unread"] == 1.0
    assert chat_server.seen.total() == asked, "what was answered is kept"


def test_simulated_people_judge_a_files_pairs_anew(
    stage_folder: Callable[[str], StageFolder], tmp_path: Path, pairs: Path
) -> None:
    rows = [
        Judgement(f"question {n}", "short", "a longer one", "a", f"r{k}", "weak", group=f"g{n % 5}")
        for n in range(20)
        for k in range(2)
    ]
    rows += [
        Judgement(f"question {n}", "short", "a longer one", "a", "e", "expert", group=f"g{n % 5}") for n in range(20)
    ]
    write_judgements(tmp_path / "file.jsonl", rows)
    data = DataConfig(judgements=str(tmp_path / "file.jsonl"))
    task = JudgementsTask(name="judgements", raters=6, population={"longer": PeopleKind(share=1.0, rule="longer")})
    settings = JudgementsConfig(raters="simulated", raters_per_pair=3)
    simulated, metrics = collect(stage_folder("new"), {}, settings, task=task, data=data)
    assert {row.judgement.preference for row in simulated} == {"b"}
    given, _ = collect(stage_folder("own"), {}, JudgementsConfig(), task=task, data=data)
    assert {row.judgement.preference for row in given} == {"a"}
    assert len(simulated) == 3 * len(given) / 2
    assert metrics["judgements/raters"] == 6
    experts, _ = collect(stage_folder("expert"), {}, settings, tier="expert", task=task, data=data)
    assert {row.judgement.preference for row in experts} == {"a"}


def test_experts_are_the_tasks_own(pairs: Path, stage_folder: Callable[[str], StageFolder], tiny: Path) -> None:
    settings = JudgementsConfig(raters_per_pair=1, raters="model", model=ModelRaterConfig(path=str(tiny)))
    experts, _ = collect(stage_folder("expert"), {"pairs": pairs}, settings, tier="expert")
    plain, _ = collect(stage_folder("plain"), {"pairs": pairs}, JudgementsConfig(raters_per_pair=1), tier="expert")
    assert experts == plain
    assert {row.judgement.tier for row in experts} == {"expert"}


def test_a_question_that_does_not_fit_the_context_is_refused(tiny: Path) -> None:
    model = language_model(tiny, LocalRoles(ResourcesConfig()), max_new_tokens=4)
    assert model.context is not None
    with pytest.raises(ValueError, match=f"do not fit into the model's context of {model.context}"):
        model.write(["word " * model.context])
