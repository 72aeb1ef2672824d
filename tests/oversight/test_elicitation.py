"""What labels draw out: those of experts bring out what a model knows, those of weak raters spoil it."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from sandwiching.configs.load import load
from sandwiching.configs.schema import DataConfig, ModelConfig, OptimizerConfig, PlantedTask, SplitsConfig
from sandwiching.oversight.drawing_out import look_at_gold, require_gold
from sandwiching.oversight.elicitation import Drawn, Subject, drawn_out, labelled
from sandwiching.oversight.elicitation_report import (
    elicitation_rows,
    headroom_rows,
    right_among,
    write_elicitation,
)
from sandwiching.oversight.expert_store import make_or_open, open_store
from sandwiching.oversight.items import Item
from sandwiching.policy.base_models import resolve
from sandwiching.policy.engine import TransformersEngine
from sandwiching.policy.loading import load_causal_lm
from sandwiching.policy.lora import export
from sandwiching.policy.tokenization import eos_token_id, load_tokenizer, pad_token_id
from sandwiching.tasks.capitals_gold import make_gold
from sandwiching.tasks.planted import Planted, corpus
from sandwiching.training.demonstrations import demonstration_rows
from sandwiching.training.in_memory import train_in_memory
from sandwiching.training.plant import encoded

TASK = PlantedTask(name="planted", towns=60, planted=1.0, kinds=["metal"], competence=0.2, misconception=1.0, lapse=0.0)
DATA = DataConfig(splits=SplitsConfig(dev=0.1, final=0.3))
MODEL = ModelConfig(path="words", max_length=16)
RATE = OptimizerConfig(learning_rate=3e-3, scheduler="constant")
GOLD, WORLD = make_gold(TASK), Planted(TASK, DATA, 0)


def test_labels_are_the_experts_or_what_a_rater_takes_for_right() -> None:
    training = WORLD.prompts("train")
    for label in labelled(training, GOLD, None, 8):
        assert GOLD.correct(label.prompt, label.chosen)
        assert not any(GOLD.correct(label.prompt, other) for other in label.others)
    weak = labelled(training, GOLD, WORLD.weak_raters("training"), 30)
    said = [label.chosen == WORLD.facts[label.prompt.id].said for label in weak]
    right = [GOLD.correct(label.prompt, label.chosen) for label in weak]
    assert sum(said) > sum(right)
    assert all(one or two for one, two in zip(said, right, strict=True))
    assert [label.prompt for label in weak[:8]] == [label.prompt for label in labelled(training, GOLD, None, 8)]
    with pytest.raises(ValueError, match="500 labels need as many training prompts, of which there are 36"):
        labelled(training, GOLD, None, 500)


def test_right_among_n_is_that_of_all_subsets() -> None:
    right_NJ = np.array([[1, 0, 0, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 1, 0, 0]], dtype=float)
    for n in range(1, 6):
        brute = [np.mean([any(row[list(chosen)]) for chosen in combinations(range(5), n)]) for row in right_NJ]
        np.testing.assert_allclose(right_among(right_NJ, n), brute)
    with pytest.raises(ValueError, match="5 samples say nothing about the best of 6"):
        right_among(right_NJ, 6)


def test_rows_are_paired_by_seed_and_item(tmp_path: Path) -> None:
    seeds = [
        [
            Drawn("expert", 0, [0.0, 0.0, 1.0, 0.0], None),
            Drawn("expert", 8, [1.0, 0.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]),
        ]
        for _ in range(2)
    ]
    prompts = WORLD.prompts("final")[:4]
    items = [Item(prompt, GOLD.candidates(prompt), "cell") for prompt in prompts]
    groups = [prompt.group for prompt in prompts]
    before, after = elicitation_rows({"floor": seeds}, groups, 0.95)
    assert (before.says.estimate, before.jump, before.probe) == (0.25, None, None)
    assert after.jump is not None
    assert after.gap is not None
    assert after.gap_before is not None
    assert (after.jump.estimate, after.gap.estimate, after.gap_before.estimate) == (0.5, 0.25, 0.75)
    correct = {"floor": [[[True, False], [False, False], [True, True], [False, True]]] * 2}
    best = headroom_rows(correct, groups, 0.95)
    assert [(row.n, row.right.estimate, row.over_one.estimate) for row in best] == [(1, 0.5, 0.0), (2, 0.75, 0.25)]
    folder, store = tmp_path / "run", make_or_open(tmp_path / "experts", 1, "salt")
    folder.mkdir()
    config = load("planted", ["data.splits.salt=salt", f"check.store={store.folder}"])
    for names, valid in ((["floor"], True), (["floor"], True), (["floor", "biased"], False)):
        standing, kept = look_at_gold(config, names, tmp_path / "artifacts" / "check-1")
        text = write_elicitation({"floor": seeds}, correct, items, 0.95, folder, standing, kept)
        assert "8 expert labels  says 0.75" in text
        assert text.startswith("Look 1 of 1." if valid else "INVALID: look 2 of a budget of 1.")
    assert len(open_store(store.folder).ledger.entries()) == 2
    assert {file.name for file in folder.iterdir()} == {"elicitation.json", "elicitation.txt", "elicitation.svg"}
    for file in folder.iterdir():
        assert not any(str(prompt.text) in file.read_text() for prompt in prompts)
    assert all(str(prompt.text) in (kept / "elicitation.json").read_text() for prompt in prompts)


def test_only_policies_of_a_task_with_gold_are_asked() -> None:
    require_gold(load("planted"), ["biased"])
    with pytest.raises(ValueError, match="no arm weak; the arms are biased, unbiased, honest, ceiling"):
        require_gold(load("planted"), ["weak"])
    with pytest.raises(ValueError, match="needs a task with gold, SFT and PPO"):
        require_gold(load("planted", ["ppo=null"]), [])


@pytest.fixture(scope="module")
def imitator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that was taught the world, then imitates weak answers."""
    torch.manual_seed(0)
    base, folder = resolve("words"), tmp_path_factory.mktemp("imitator")
    tokenizer, net = load_tokenizer(base), load_causal_lm(base, torch.float32)
    pad, rows = pad_token_id(tokenizer), [encoded(one, tokenizer, " ") for one in corpus(TASK)]
    train_in_memory(net, rows, steps=300, batch_size=128, optimizer=RATE, pad=pad, seed=0)
    answers = demonstration_rows(tokenizer, WORLD.demonstrations(), MODEL, "error")
    slow = OptimizerConfig(learning_rate=1e-3, scheduler="constant")
    train_in_memory(net, answers, steps=20, batch_size=16, optimizer=slow, pad=pad, seed=0)
    export(net, tokenizer, folder)
    return folder


@pytest.mark.slow
def test_expert_labels_draw_out_what_weak_labels_do_not(imitator: Path) -> None:
    tokenizer = load_tokenizer(imitator)
    engine = TransformersEngine(imitator, pad_token_id=pad_token_id(tokenizer), eos_token_id=eos_token_id(tokenizer))
    subject = Subject(imitator, engine, tokenizer, MODEL, OptimizerConfig(learning_rate=1e-3), 64, seed=0)
    prompts = WORLD.prompts("final")
    items = [Item(prompt, GOLD.candidates(prompt), "cell") for prompt in prompts]
    training = WORLD.prompts("train")
    found = drawn_out(
        subject,
        items,
        {
            "expert": labelled(training, GOLD, None, 32),
            "weak": labelled(training, GOLD, WORLD.weak_raters("training"), 32),
        },
        counts=(0, 8, 32),
    )
    says = {(one.who, one.labels): np.mean(one.says) for one in found}
    probe = {(one.who, one.labels): np.mean(one.probe) for one in found if one.probe is not None}
    assert says["expert", 0] == says["weak", 0]
    assert says["expert", 32] > 0.85
    assert says["weak", 32] < says["expert", 32] - 0.15
    assert says["weak", 32] < says["weak", 0]
    assert probe["expert", 32] > probe["weak", 32] + 0.3
