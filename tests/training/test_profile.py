"""What a profile says of a step, against numbers worked out by hand."""

import json
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from sandwiching.configs.schema import PPOConfig
from sandwiching.training.profile import Profile, Work, step_work, table, trunk_parameters
from sandwiching.training.spans import Span, Spans

RECORD = {"ppo/tokens": 100.0, "ppo/response_tokens": 5.0}


def test_embeddings_are_no_part_of_the_trunk(tiny: Path):
    model = AutoModelForCausalLM.from_pretrained(tiny)
    embeddings = dict(model.named_parameters())["model.embed_tokens.weight"]
    assert trunk_parameters(tiny) == model.num_parameters() - embeddings.numel()


@pytest.mark.parametrize(
    ("value", "lora", "scorer", "learner"),
    [
        # policy and value model: evaluated once, then two epochs of 6 FLOPs a parameter and token
        ("model", False, 3 * 2, 2 * 2 + 2 * 2 * 6),
        # the adapter's reference is in the learner; weights of the trunk have no gradient
        ("model", True, 2 * 2, 3 * 2 + 2 * 2 * 4),
        ("head", False, 3 * 2, 1 * 2 + 2 * 1 * 6),
    ],
)
def test_work_is_counted_by_role(value: str, lora: bool, scorer: int, learner: int):
    work = step_work(RECORD, PPOConfig(batch_size=8, epochs=2, value=value), lora, parameters=7, passes=2)
    assert work.flops == {"engine": 2 * 700, "scorer": scorer * 700, "learner": learner * 700}
    assert work.tokens["engine"] == 40


def test_the_table_says_who_idled():
    work = step_work(RECORD, PPOConfig(batch_size=8, epochs=2), False, parameters=10**6, passes=1)
    spans = [
        Span("engine", "generate", 0.0, 1.0),
        Span("scorer", "score", 1.0, 1.5),
        Span("learner", "update", 1.5, 4.0),
    ]
    rows = {line.split()[0]: line.split() for line in table(spans, 4.0, work, peak={"engine": 1e9}).splitlines()[3:]}
    assert rows["engine"] == ["engine", "1.00", "75%", "40", "0.2", "20%"]
    assert rows["scorer"] == ["scorer", "0.50", "88%", "400", "0.8", "-"]
    assert rows["learner"][1:3] == ["2.50", "38%"]


def test_who_did_nothing_in_the_step_has_no_rates():
    work = Work(tokens={"engine": 10, "scorer": 20}, flops={"engine": 1.0, "scorer": 1.0})
    lines = table([Span("engine", "generate", 0.0, 1.0)], 2.0, work, {}).splitlines()
    assert lines[-1].split() == ["scorer", "0.00", "-", "-", "-", "-"]


def test_a_profile_is_two_files(tiny: Path, tmp_path: Path):
    spans = Spans()
    spans.recorded += [Span("engine", "generate", 0.0, 9.0), Span("learner", "update", 9.0, 12.0)]
    Profile(tmp_path, tiny, "fp32", PPOConfig(), lora=True, passes=1).write(spans, 8.0, 11.0, RECORD, {})
    events = json.loads((tmp_path / "profile.json").read_text())["traceEvents"]
    assert [(e["name"], e["ts"], e["dur"]) for e in events if e["ph"] == "X"] == [
        ("generate", 0.0, 1e6),
        ("update", 1e6, 2e6),
    ]
    assert "one PPO step, 3.00 s" in (tmp_path / "profile.txt").read_text()
