"""From a file of judgements to unique texts and columns."""

import math

import pytest

from sandwiching.configs.schema import ModelConfig
from sandwiching.policy.tokenization import load_tokenizer
from sandwiching.tasks.readers import write_judgements
from sandwiching.tasks.records import Judgement
from sandwiching.training.reward_data import load_reward_data


def judgement(prompt, a, b, preference, rater="r", confidence=None, group="g"):
    return Judgement(prompt, a, b, preference, rater, "weak", confidence=confidence, group=group, pair=f"{prompt}/{a}")


@pytest.fixture
def load(tiny, tmp_path):
    tokenizer = load_tokenizer(tiny)

    def run(rows, finished_b=None, max_length=64, too_long="error", dev_share=0.0, seed=0):
        finished_a = None if finished_b is None else [True] * len(rows)
        write_judgements(tmp_path / "judgements.jsonl.gz", rows, finished_a, finished_b)
        model = ModelConfig(path=str(tiny), max_length=max_length)
        return tokenizer, load_reward_data(tmp_path, tokenizer, model, too_long, dev_share, seed)

    return run


def test_texts_are_unique_and_judgements_point_at_them(load):
    rows = [
        judgement("Q:", "one", "two", "a", "x", 0.5),
        judgement("Q:", "two", "three", "b", "y"),
        judgement("Q:", "three", "one", "tie", "x"),
    ]
    tokenizer, data = load(rows)
    texts = [tokenizer.decode(ids) for ids in data.texts]
    assert texts == ["Q: one<eos>", "Q: two<eos>", "Q: three<eos>"]
    columns = data.train
    assert columns.text_a_E.tolist() == [0, 1, 2]
    assert columns.text_b_E.tolist() == [1, 2, 0]
    assert columns.target_E.tolist() == [1.0, 0.0, 0.5]
    assert columns.confidence_E[0] == 0.5
    assert math.isnan(columns.confidence_E[1])
    assert columns.rater_E[0] == columns.rater_E[2] != columns.rater_E[1]
    assert len(data.dev) == 0


def test_an_unfinished_response_is_another_text(load):
    tokenizer, data = load([judgement("Q:", "one", "one", "a")], finished_b=[False])
    assert [tokenizer.decode(ids) for ids in data.texts] == ["Q: one<eos>", "Q: one"]


def test_a_text_against_itself_is_left_out_aloud(load, caplog):
    _, data = load([judgement("Q:", "one", "one", "a"), judgement("Q:", "one", "two", "a")])
    assert len(data.train) == 1
    assert "1 judgements compare a text with itself" in caplog.text


def test_long_judgements_are_named(load):
    rows = [judgement("Q:", "x" * 70, "two", "a"), judgement("Q:", "one", "two", "a")]
    with pytest.raises(ValueError, match=r"1 of 2 judgements .* model\.max_length=64: Q:/xxx"):
        load(rows)
    _, data = load(rows, too_long="drop")
    assert len(data.train) == 1
    with pytest.raises(ValueError, match="no judgement is left"):
        load(rows[:1], too_long="drop")


def test_prompts_kept_aside_are_whole_and_fixed_by_the_seed(load):
    rows = [judgement(f"Q{i}:", "one", other, "a") for i in range(20) for other in ("two", "three")]
    _, data = load(rows, dev_share=0.25)
    kept, aside = set(data.train.prompt_E.tolist()), set(data.dev.prompt_E.tolist())
    assert len(aside) == 5
    assert kept | aside == set(range(20))
    assert not kept & aside
    assert set(load(rows, dev_share=0.25)[1].dev.prompt_E.tolist()) == aside
    assert set(load(rows, dev_share=0.25, seed=1)[1].dev.prompt_E.tolist()) != aside
