"""Labels of each arm's kind of raters on held-out pairs, and scores by item and sample."""

import numpy as np
import pytest
import torch

from sandwiching.configs.schema import ArmLabels, CapitalsTask, CheckConfig, DataConfig, ModelConfig, PeopleKind
from sandwiching.oversight.items import Item
from sandwiching.oversight.rewards import label_record, nested
from sandwiching.policy.base_models import resolve
from sandwiching.policy.tokenization import load_tokenizer
from sandwiching.tasks.records import Prompt

TASK = CapitalsTask(name="capitals")
MODEL = ModelConfig(path="tiny", max_length=256)


def labels(tier="weak", raters="task", count=3, **population):
    task = CapitalsTask(name="capitals", population=population)
    return ArmLabels(tier=tier, raters=raters, raters_per_pair=count, task=task)


@pytest.fixture(scope="module")
def record():
    asked = {
        "weak": labels(),
        "single": labels(count=1),
        "random": labels(clickers=PeopleKind(share=1.0, rule="random")),
        "length": labels(longer=PeopleKind(share=1.0, rule="longer")),
        "ceiling": labels(tier="expert"),
        "people": labels(raters="people"),
    }
    tokenizer = load_tokenizer(resolve("tiny"))
    return label_record(TASK, DataConfig(), CheckConfig(max_prompts=120), asked, 0, MODEL, tokenizer)


def test_each_arm_is_labelled_by_its_own_kind_of_raters(record):
    pairs, found = record
    accuracy = {arm: np.mean(right) for arm, right in found["arms"].items()}
    assert all(len(right) == len(pairs) for right in found["arms"].values())
    assert accuracy["random"] == pytest.approx(0.5, abs=0.08)
    assert accuracy["ceiling"] > 0.95
    assert 0.5 < np.mean(found["line"]) < 0.8
    longer = [(len(pair.better.response) > len(pair.worse.response)) for pair in pairs]
    assert np.corrcoef(longer, found["arms"]["length"])[0, 1] > 0.6


def test_more_votes_make_better_labels_of_raters_who_are_mostly_right(record):
    accuracy = {arm: np.mean(right) for arm, right in record[1]["arms"].items()}
    assert accuracy["single"] == pytest.approx(np.mean(record[1]["line"]), abs=0.1)


def test_people_are_not_asked_again(record):
    assert set(record[1]["missing"]) == {"people"}
    assert "judgements.raters=people" in record[1]["missing"]["people"]


def test_scores_by_item_and_sample_ask_for_equal_texts_once():
    asked = []

    def score(texts):
        asked.extend(texts)
        return torch.tensor([float(len(one.response)) for one in texts])

    items = [Item(Prompt(name, name, "g", "k"), ("yes", "no"), "all") for name in ("one?", "two?")]
    answers = {"responses": [["a", "bbb"], ["a", "a"]], "finished": [[True, True], [True, True]]}
    assert nested(score, items, answers) == [[1.0, 3.0], [1.0, 1.0]]
    assert len(asked) == 3
