"""Monitors fitted to judged texts with real (tiny) models: what they learn from, what they say, in which process."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from sandwiching.configs.schema import ModelConfig
from sandwiching.oversight.monitors.fitting import judged
from sandwiching.oversight.monitors.job import Answered, Job, PolicyRun, Settings, judged_by
from sandwiching.oversight.monitors.process import scored, threads_for
from sandwiching.oversight.monitors.reading import read_member
from sandwiching.oversight.monitors.spawn import run_job
from sandwiching.policy.base_models import resolve
from sandwiching.policy.tokenization import encode, load_tokenizer
from sandwiching.tasks.readers import write_judgements
from sandwiching.tasks.records import Judgement
from sandwiching.training.artifacts import StageFolder

MODEL = ModelConfig(path="", lora=None, precision="fp32", max_length=64)
SETTINGS = Settings(MODEL, fit_texts=200, micro_batch=16, threads=1)
PROMPTS = ["Question: ab", "Question: cd", "Question: ef"]


@pytest.fixture(scope="module")
def start() -> Path:
    """A policy's folder."""
    return resolve("tiny")


def reward_model(folder: Path, start: Path, seed: int) -> str:
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(start, num_labels=1)
    model.config.reward_mean, model.config.reward_std = 0.5, 2.0
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(start).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, start: Path) -> PolicyRun:
    """Two reward models, and raters who like the letter x."""
    root, draw = tmp_path_factory.mktemp("run"), random.Random(0)
    rows = []
    for i in range(30):
        one, other = ("".join(draw.choices("xyz", k=6)) for _ in range(2))
        lean = one.count("x") - other.count("x")
        verdict = "tie" if lean == 0 else "a" if lean > 0 else "b"
        rows.append(Judgement(f"Question: {i}", one, other, verdict, f"rater {i % 3}", "weak", group=f"g{i}"))
    (root / "judged").mkdir()
    write_judgements(root / "judged" / "judgements.jsonl.gz", rows)
    members = tuple(reward_model(root / f"member{seed}", start, seed) for seed in (0, 1))
    own = str(root / "judged")
    return PolicyRun("weak/seed0", str(start), members, own, own, None, 0.1, 0, "mean", 0.5)


def snapshot(folder: Path, start: Path) -> str:
    """Other weights for the policy."""
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_pretrained(start)
    weights = {name: one + 0.1 * torch.randn_like(one) for name, one in model.named_parameters()}
    folder.mkdir()
    save_file({name: one.detach().contiguous() for name, one in weights.items()}, folder / "weights.safetensors")
    return str(folder)


def points(weights: str | None) -> list[Answered]:
    rows = [["xxyz", "y"], ["zz", "xyxyxy"], ["", "x"]]
    ended = [[True, False]] * 3
    return [Answered(0, None, rows, ended), Answered(5, weights, rows, ended)]


def test_monitors_are_those_that_can_be_fitted_and_read_what_was_sampled(
    run: PolicyRun, start: Path, tmp_path: Path
) -> None:
    found = scored(run, points(snapshot(tmp_path / "step_5", start)), PROMPTS, SETTINGS)
    assert set(found["values"]) == {"probe_weak", "random_labels", "distance", "spread", "length"}
    assert found["absent"] == {"probe_expert": "no arm of the run learns from judgements of tier expert"}
    values = {name: np.array(one) for name, one in found["values"].items()}
    assert all(one.shape == (2, 3, 2) and np.isfinite(one).all() for one in values.values())
    # The policy's own weights count for probes, and for nothing that a reward model says.
    assert not np.allclose(values["probe_weak"][0], values["probe_weak"][1])
    np.testing.assert_array_equal(values["distance"][0], values["distance"][1])
    tokenizer = load_tokenizer(start)
    lengths = [
        len(encode(tokenizer, PROMPTS[0], text, ended, MODEL.separator)[1])
        for text, ended in (("xxyz", True), ("y", False))
    ]
    assert values["length"][0, 0].tolist() == lengths
    before, after = encode(tokenizer, PROMPTS[0], "xxyz", True, MODEL.separator)
    both = [read_member(Path(member), [before + after], "fp32", 4).rewards_N[0] for member in run.members]
    assert found["rewards"][0][0][0] == pytest.approx(np.mean(both), abs=1e-5)
    assert values["spread"][0, 0, 0] == pytest.approx(np.std(both), abs=1e-5)


def test_one_member_has_no_spread_and_equal_features_no_distance(run: PolicyRun, start: Path, tmp_path: Path) -> None:
    alone = scored(replace(run, members=run.members[:1]), points(None)[:1], PROMPTS, SETTINGS)
    assert "one reward model alone has no spread" in alone["absent"]["spread"]
    assert "spread" not in alone["values"]
    assert "distance" in alone["values"]


def test_fitting_takes_whole_prompts_up_to_its_limit_and_no_ties(run: PolicyRun, start: Path) -> None:
    tokenizer = load_tokenizer(start)
    whole = judged(Path(run.own), run, SETTINGS, tokenizer)
    few = judged(Path(run.own), run, replace(SETTINGS, fit_texts=11), tokenizer)
    every = judged(Path(run.own), run, SETTINGS, tokenizer, keep_ties=True)
    assert len(few.texts) == 10
    assert few.texts == whole.texts[:10]
    assert set(whole.target_E.tolist()) == {0.0, 1.0}
    assert len(every.target_E) == 27, "3 of 30 prompts are kept aside from the reward model"
    assert len(every.target_E) > len(whole.target_E)


@pytest.mark.parametrize(
    ("arm", "tier", "whose"),
    [("a", "weak", "a"), ("b", "weak", "b"), ("c", "weak", "a"), ("a", "expert", "c"), ("c", "expert", "c")],
)
def test_probes_learn_from_the_arm_itself_where_they_can(arm: str, tier: str, whose: str) -> None:
    assert judged_by(["a", "b", "c"], {"a": "weak", "b": "weak", "c": "expert"}, arm, tier) == whose
    assert judged_by(["a"], {"a": "weak"}, "a", "expert") is None


def job(run: PolicyRun, answers: Sequence[Answered], watched: Path) -> Job:
    return Job(SETTINGS, list(PROMPTS), [(run, list(answers))], [str(watched)], "")


def test_a_job_says_nothing_of_gold_and_comes_back_as_it_was(run: PolicyRun, tmp_path: Path) -> None:
    lora = replace(job(run, points(None), tmp_path), settings=replace(SETTINGS, model=ModelConfig(path="x")))
    for one in (job(run, points(None), tmp_path), lora):
        one.write(tmp_path / "job.json")
        assert Job.read(tmp_path / "job.json") == one
    text = (tmp_path / "job.json").read_text()
    assert not any(word in text for word in ("correct", "approved", "gold"))


def test_small_models_are_read_by_one_thread(start: Path, tmp_path: Path) -> None:
    assert threads_for(start, 8) == 1
    with (tmp_path / "model.safetensors").open("wb") as stream:
        stream.truncate(60_000_000)
    assert threads_for(tmp_path, 8) == 8


@pytest.mark.slow
def test_scores_come_from_a_process_of_their_own(run: PolicyRun, tmp_path: Path) -> None:
    folder = StageFolder(tmp_path / "monitor-key", 1)
    folder.path.mkdir()
    (folder.path / "attempt").write_text("1")
    expected = scored(run, points(None), PROMPTS, SETTINGS)
    found = run_job(job(run, points(None), Path(run.own)), folder)
    assert found == {"weak/seed0": json.loads(json.dumps(expected))}
    # What an earlier attempt scored is not scored again.
    file = folder.cache / "scores-weak-seed0.json"
    file.write_text(json.dumps({"kept": True}))
    assert run_job(job(run, points(None), Path(run.own)), folder) == {"weak/seed0": {"kept": True}}
    file.unlink()
    with pytest.raises(RuntimeError, match=r"(?s)the process that scores ended with 1; .*no-such-model"):
        run_job(job(replace(run, start="/no-such-model"), points(None), Path(run.own)), folder)
