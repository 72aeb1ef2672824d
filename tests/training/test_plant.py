"""Teaching a base model a made-up world: exactly, with the numbers that say what it knows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sandwiching.configs.schema import ModelConfig, PlantConfig, PlantedTask, ResourcesConfig
from sandwiching.launch.local import LocalRoles
from sandwiching.policy.base_models import resolve
from sandwiching.policy.tokenization import load_tokenizer
from sandwiching.tasks.planted import Statement
from sandwiching.training.artifacts import StageFolder
from sandwiching.training.batching import IGNORED
from sandwiching.training.in_memory import Order
from sandwiching.training.metrics import read_metrics
from sandwiching.training.plant import encoded, plant_knowledge

MODEL = ModelConfig(path="words", max_length=16)
SMALL = PlantedTask(name="planted", towns=20, planted=0.5, kinds=["metal"])
QUICK = PlantConfig(steps=150)


def plant(folder: Path, settings: PlantConfig = QUICK) -> dict[str, float]:
    folder.mkdir(parents=True)
    stage = StageFolder(folder, 0)
    resources = ResourcesConfig(rollout_batch=256)
    return plant_knowledge(
        model=MODEL,
        task=SMALL,
        plant=settings,
        resources=resources,
        parents={},
        folder=stage,
        roles=LocalRoles(resources),
    )


def test_what_is_planted_is_known_and_what_is_not_is_not(tmp_path: Path) -> None:
    metrics = plant(tmp_path / "one")
    assert metrics["plant/recall"] == 1.0
    assert metrics["plant/recall_not_planted"] <= 0.5
    assert [record["step"] for record in read_metrics(tmp_path / "one" / "metrics.jsonl")] == [*range(20, 150, 20), 150]
    plant(tmp_path / "two")
    one, two = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_model_that_did_not_learn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"plant/recall is 0\.\d+, below plant\.least_recall=0\.98; raise"):
        plant(tmp_path / "one", PlantConfig(steps=1))


def test_what_is_learned_is_the_response_or_the_verdict_behind_it() -> None:
    tokenizer = load_tokenizer(resolve("words"))
    ids, labels = encoded(Statement("metal of kav ?", "it is iron"), tokenizer, " ")
    assert labels == [IGNORED] * 4 + ids[4:]
    assert ids[-1] == tokenizer.eos_token_id
    ids, labels = encoded(Statement("metal of kav ?", "iron", "wrong"), tokenizer, " ")
    assert labels == [IGNORED] * 6 + ids[-1:]
    assert tokenizer.decode(ids[-1:]) == "wrong"
    with pytest.raises(ValueError, match=r"no token for a word of 'metal of kav \?' 'steel'"):
        encoded(Statement("metal of kav ?", "steel"), tokenizer, " ")


def test_an_epoch_takes_every_row_once() -> None:
    order = Order(10, seed=3)
    taken = torch.cat([order.take(4) for _ in range(5)]).tolist()
    assert sorted(taken[:10]) == sorted(taken[10:]) == list(range(10))
    assert taken[:10] != taken[10:]
