"""The check of a run without PPO, on a small made-up file of judgements."""

import gzip
import json
import shutil

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from sandwiching.configs.schema import (
    CapitalsTask,
    CheckConfig,
    DataConfig,
    JudgementsTask,
    ModelConfig,
    ResourcesConfig,
    SplitsConfig,
    TaskConfig,
)
from sandwiching.oversight.check import check
from sandwiching.oversight.item_records import item_records
from sandwiching.oversight.report.build import reported
from sandwiching.oversight.report.gather import Sources, gather
from sandwiching.policy.base_models import resolve
from sandwiching.tasks.capitals_gold import make_gold
from sandwiching.tasks.readers import write_judgements
from sandwiching.tasks.records import Judgement, Tier
from sandwiching.tasks.registry import make_task
from sandwiching.training.artifacts import StageFolder, write_manifest
from sandwiching.training.scorer import TransformersScorer

RESOURCES = ResourcesConfig()
TASK = JudgementsTask(name="judgements")


class Scorers:
    """Roles of one process."""

    resources: ResourcesConfig = RESOURCES
    apart: bool = False

    def scorer(self, spec):
        return TransformersScorer(spec, 32)

    def engine(self, spec):
        raise AssertionError("this check needs no engine")

    def learner(self, spec):
        raise AssertionError("this check needs no learner")


def judgements(path, tiers=("weak", "expert")):
    """12 groups of 10 pairs; the expert takes the longer response nine times in ten, weak raters at random."""
    rng = np.random.default_rng(0)
    rows = []
    for group in range(12):
        for number in range(10):
            sides = {side: "word " * int(size) + f"{group}.{number}" for side, size in zip("ab", (2, 5), strict=True)}
            votes = [("e", "expert", "b" if rng.random() < 0.9 else "a")]
            votes += [(f"w{k}", "weak", str(rng.choice(["a", "b", "tie"]))) for k in range(3)]
            for rater, tier, preference in [vote for vote in votes if vote[1] in tiers]:
                rows.append(
                    {
                        "prompt": f"Question {group}?",
                        "response_a": sides["a"],
                        "response_b": sides["b"],
                        "preference": preference,
                        "rater": rater,
                        "tier": tier,
                        "group": f"g{group}",
                    }
                )
    with gzip.open(path, "wt") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)


def member(folder, seed):
    """A reward model with random weights."""
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(resolve("tiny"), num_labels=1)
    model.config.reward_mean, model.config.reward_std = 0.0, 1.0
    model.save_pretrained(folder / "model")
    AutoTokenizer.from_pretrained(resolve("tiny")).save_pretrained(folder / "model")
    return folder


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    root = tmp_path_factory.mktemp("reward_check")
    judgements(root / "judgements.jsonl.gz")
    parents = {
        f"reward_model/{k}/weak/seed{seed}": member(root / f"rm{seed}{k}", 10 * seed + k)
        for seed in (0, 1)
        for k in (0, 1)
    }
    return DataConfig(judgements=str(root / "judgements.jsonl.gz"), splits=SplitsConfig(final=0.5)), parents


def run(data, parents, folder, model=None, task: TaskConfig = TASK):
    folder.mkdir(exist_ok=True)
    (folder / "attempt").write_text("1")
    return check(
        model=model or ModelConfig(path="tiny", max_length=256),
        task=task,
        data=data,
        check=CheckConfig(store=str(folder.parent / "experts")),
        arms=["weak"],
        seeds=[0, 1],
        ensembles={"weak": ("wco", 0.5)},
        resources=RESOURCES,
        parents=parents,
        folder=StageFolder(folder, 1),
        roles=Scorers(),
    )


def test_reward_check_on_the_final_split(setting, tmp_path):
    data, parents = setting
    metrics = run(data, parents, tmp_path / "check")
    record = item_records(str(tmp_path / "experts"), tmp_path / "check").record()
    assert len(record["pairs"]) == 60
    assert not {"pairs", "outcomes"} & json.loads((tmp_path / "check" / "check.json").read_text()).keys()
    assert len({pair["group"] for pair in record["pairs"]}) == 6
    assert np.array(record["outcomes"]["weak"]).shape == (2, 60)
    assert metrics["check/weak/agreement"] == pytest.approx(np.mean(record["outcomes"]["weak"]))
    assert 0.8 < metrics["check/the_longer_one/agreement"] < 1
    assert 0.35 < metrics["check/one_weak_vote/agreement"] < 0.65
    expected = metrics["check/weak/agreement"] - metrics["check/the_longer_one/agreement"]
    assert metrics["check/weak/over_the_longer_one"] == pytest.approx(expected)
    text = (tmp_path / "check" / "check.txt").read_text()
    assert "weak majority" in text
    assert "6 groups" in text
    assert (tmp_path / "check" / "check.svg").exists()


def report_of(folder, tmp_path):
    """The report of a check that has run."""
    manifest(folder, "check", "c", {}, {})
    return reported([gather(Sources("talk", folder, None, tmp_path / "experts", caveat="Doubtful."))])


def test_its_report_says_whether_there_is_a_gap_and_no_pair(setting, tmp_path):
    data, parents = setting
    metrics = run(data, parents, tmp_path / "check")
    record, page = report_of(tmp_path / "check", tmp_path)
    lines = record["headline"].split("\n")
    assert lines[0] == "Look 1 of 20."
    # Weak raters vote at random, so that they agree with nobody.
    assert lines[1].startswith("No gap is shown between weak raters and experts: ")
    assert lines[2].startswith("weak: agrees with experts on ")
    assert "the weak majority (" in lines[2]
    assert lines[3] == "Doubtful."
    assert lines[4].startswith("Conditions: ")
    assert record["agreement"]["accuracy"]["weak"]["estimate"] == pytest.approx(metrics["check/weak/agreement"])
    assert set(record["weak_gap"]["with_majority"]) == {"weak"}
    assert 'id="r0-agreement"' in page
    assert 'id="r0-sandwich"' not in page
    assert "Agreement with weak raters on held-out pairs" in page
    assert "word word" not in page + json.dumps(record)


def test_the_report_of_an_unchecked_run_says_so(setting, tmp_path):
    _, parents = setting
    judgements(tmp_path / "weak.jsonl.gz", tiers=("weak",))
    data = DataConfig(judgements=str(tmp_path / "weak.jsonl.gz"), splits=SplitsConfig(final=0.5))
    run(data, parents, tmp_path / "check")
    record, page = report_of(tmp_path / "check", tmp_path)
    assert record["conditions"] is record["looks"] is record["agreement"] is None
    assert record["headline"].startswith("Nothing was checked: ")
    assert "Nothing was checked: " in page


def test_without_experts_it_says_that_nothing_was_checked(setting, tmp_path):
    _, parents = setting
    judgements(tmp_path / "weak.jsonl.gz", tiers=("weak",))
    data = DataConfig(judgements=str(tmp_path / "weak.jsonl.gz"), splits=SplitsConfig(final=0.5))
    assert run(data, parents, tmp_path / "check") == {}
    said = (tmp_path / "check" / "check.txt").read_text()
    assert said.startswith("Nothing was checked: no expert judged the final groups")
    assert json.loads((tmp_path / "check" / "check.json").read_text())["headline"] == said.strip()


def test_pairs_too_long_for_the_model(setting, tmp_path):
    data, parents = setting
    short = ModelConfig(path="tiny", max_length=40)
    with pytest.raises(ValueError, match=r"60 of 60 expert pairs .*model\.max_length=40"):
        run(data, parents, tmp_path / "check", model=short)


def test_errors_name_what_is_missing(setting, tmp_path):
    data, _ = setting
    with pytest.raises(ValueError, match=r"arms\.weak: there is no reward model of seed 0"):
        run(data, {}, tmp_path / "check")


def test_where_there_is_gold_it_is_asked(setting, tmp_path):
    _, parents = setting
    task = CapitalsTask(name="capitals", max_prompts=12)
    metrics = run(DataConfig(), parents, tmp_path / "check", task=task)
    record = item_records(str(tmp_path / "experts"), tmp_path / "check").record()
    gold = make_gold(task)
    asked = {prompt.text: prompt for prompt in make_task(task, DataConfig(), 0).prompts("final")}
    assert len(record["pairs"]) == sum(len(gold.candidates(prompt)) - 1 for prompt in asked.values())
    for pair in record["pairs"]:
        prompt = asked[pair["better"]["prompt"]]
        assert gold.correct(prompt, pair["better"]["response"])
        assert not gold.correct(prompt, pair["worse"]["response"])
    votes = [np.mean(pair["weak_votes"]) for pair in record["pairs"]]
    assert metrics["check/one_weak_vote/agreement"] == pytest.approx(np.mean(votes))
    assert metrics["check/weak/agreement"] == pytest.approx(np.mean(record["outcomes"]["weak"]))


def test_experts_rows_in_what_a_weak_arm_learned_from_are_refused_before_any_look(setting, tmp_path):
    data, parents = setting
    learned = tmp_path / "judgements-j"
    learned.mkdir()
    rows = [Judgement(f"Train {n}?", "yes", "no", "a", f"r{n}", tier, group="t") for n, tier in enumerate(TIERS)]
    write_judgements(learned / "judgements.jsonl.gz", rows, [True] * len(rows), [True] * len(rows))
    manifest(learned, "judgements", "j", {}, {"tier": "weak"})
    model = tmp_path / "reward_model-m"
    shutil.copytree(parents["reward_model/0/weak/seed0"], model)
    manifest(model, "reward_model", "m", {"judgements": "j"}, {})
    with pytest.raises(ValueError, match=r"judgements of experts .* tier weak were trained on: judgements-j \(2\)\."):
        run(data, {**parents, "reward_model/0/weak/seed0": model}, tmp_path / "check")
    assert not (tmp_path / "experts").exists()
    assert not (tmp_path / "check" / "check.json").exists()


TIERS: tuple[Tier, ...] = ("weak", "expert", "weak", "expert")


def manifest(folder, stage, key, parents, inputs):
    """Of a finished artifact."""
    (folder / "attempt").write_text("1")
    fields = {"stage": stage, "version": 1, "key": key, "inputs": inputs, "parents": parents}
    write_manifest(StageFolder(folder, 1), {**fields, "metrics": {}, "seconds": 1.0})
