"""The whole check with tiny random policies on a few prompts."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from sandwiching.configs.schema import (
    ArmLabels,
    CapitalsTask,
    CheckConfig,
    DataConfig,
    ModelConfig,
    ResourcesConfig,
    SamplingConfig,
)
from sandwiching.oversight.check import check
from sandwiching.oversight.expert_store import Look, make_or_open, open_store
from sandwiching.oversight.outcomes import outcomes
from sandwiching.oversight.policies import find_policies
from sandwiching.policy.base_models import resolve
from sandwiching.policy.engine import RolloutEngine
from sandwiching.training.artifacts import StageFolder
from sandwiching.training.engines import build_engine
from sandwiching.training.scorer import TransformersScorer

MODEL = ModelConfig(path="tiny", max_length=128)
CHECK = CheckConfig(
    samples=2, sampling=SamplingConfig(max_new_tokens=4), max_prompts=12, curve_prompts=4, raters_per_response=2
)
FILES = {"check.json", "check.txt", "check.svg", "curves.json", "curves.svg"}
CLAIM = {"ledger.json", "conditions.json", "declared.json"}
RESOURCES = ResourcesConfig(rollout_batch=16)
TASK = CapitalsTask(name="capitals")


class Asleep:
    """An engine that must not be asked."""

    version = 0
    elsewhere = False

    def load(self, folder, version):
        raise AssertionError("loaded a model")

    def load_weights(self, weights, version):
        raise AssertionError("loaded weights")

    def generate(self, prompts, sampling, seed, step):
        raise AssertionError("sampled")

    def logprobs(self, prompts, responses, temperature):
        raise AssertionError("computed log-probs")

    def divergence(self, reference, prompts, responses, temperature):
        raise AssertionError("compared policies")

    def restarts(self) -> int:
        return 0

    def layer_states(self, tokens):
        raise AssertionError("asked for layers")

    def close(self):
        raise AssertionError("closed")


@dataclass
class Engines:
    """Roles of one process; counts the engines it makes, or hands out the one it has."""

    resources: ResourcesConfig
    only: RolloutEngine | None = None
    apart: bool = False
    made: int = 0

    def engine(self, spec) -> RolloutEngine:
        self.made += 1
        return self.only or build_engine(spec, self.resources)

    def scorer(self, spec):
        return TransformersScorer(spec, 32)

    def learner(self, spec):
        raise AssertionError("this check needs no learner")


def policy(folder, seed):
    """The tiny model, its weights moved by noise of `seed` (None: as it is)."""
    start = resolve("tiny")
    model = AutoModelForCausalLM.from_pretrained(start)
    if seed is not None:
        torch.manual_seed(seed)
        for parameter in model.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(start).save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def parents(tmp_path_factory):
    """SFT and one arm of two seeds; seed 0's arm is the floor itself."""
    root, found = tmp_path_factory.mktemp("store"), {}
    for seed in (0, 1):
        policy(root / f"sft{seed}" / "model", None)
        arm = root / f"ppo{seed}"
        model = policy(arm / "model", None if seed == 0 else 7)
        (arm / "snapshots" / "step_2").mkdir(parents=True)
        weights = {name: tensor.clone() for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
        save_file(weights, arm / "snapshots" / "step_2" / "weights.safetensors")
        records = [{"step": n, "ppo/score": 0.1 * n, "ppo/kl": 0.2 * n} for n in (1, 2)]
        (arm / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        found |= {f"sft/seed{seed}": root / f"sft{seed}", f"ppo/weak/seed{seed}": arm}
        found[f"reward_model/0/weak/seed{seed}"] = reward_model(root / f"reward{seed}", seed)
    return found


def reward_model(folder, seed):
    """A random one."""
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(resolve("tiny"), num_labels=1)
    model.config.reward_mean, model.config.reward_std = 0.0, 1.0
    model.save_pretrained(folder / "model")
    AutoTokenizer.from_pretrained(resolve("tiny")).save_pretrained(folder / "model")
    return folder


def run(parents, path, only: RolloutEngine | None = None, experts=None):
    path.mkdir(exist_ok=True)
    (path / "attempt").write_text("1")
    roles = Engines(RESOURCES, only)
    metrics = check(
        model=MODEL,
        task=TASK,
        data=DataConfig(),
        check=replace(CHECK, store=str(experts or path.parent / "experts")),
        arms=["weak"],
        seeds=[0, 1],
        resources=RESOURCES,
        parents=parents,
        folder=StageFolder(path, 1),
        roles=roles,
        ensembles={"weak": ("mean", 0.5)},
        labels={"weak": ArmLabels(tier="weak", raters="task", raters_per_pair=3, task=TASK)},
    )
    return metrics, json.loads((path / "check.json").read_text()), roles


@pytest.fixture(scope="module")
def result(parents, tmp_path_factory):
    path = tmp_path_factory.mktemp("check") / "check-key"
    return *run(parents, path), path


def test_check_writes_its_files_and_item_records(result):
    metrics, record, roles, path = result
    assert not (FILES | CLAIM) - {file.name for file in path.iterdir()}
    assert roles.made == 1
    assert len(record["items"]) == 12
    answers = record["policies"]["weak/seed1"]
    assert all(len(row) == 2 for row in answers["responses"])
    assert all(
        len(row) == len(item["candidates"]) for row, item in zip(answers["logprobs"], record["items"], strict=True)
    )
    assert all(len(votes) == 2 for row in answers["approvals"] for votes in row)
    assert metrics["check/weak/free"] == pytest.approx(outcomes(record).policies["weak"]["free"].mean())
    assert record["summary"]["headline"] in record["headline"]


def test_the_headline_says_look_and_conditions(result):
    _, record, _, path = result
    look, *_, last = record["headline"].splitlines()
    assert look == "Look 1 of 20."
    assert last.startswith("Conditions: held: ")
    assert "not tested: optimisation power" in last
    assert "Declared before the check, when all of what it checks had been trained." in last
    assert (path / "check.txt").read_text().startswith(f"{look}\n{last}\n")
    rows = json.loads((path / "conditions.json").read_text())["conditions"]
    by_quantity = {row["quantity"]: row for row in rows}
    assert by_quantity["parameters of the policy"]["value"] > 1000
    assert by_quantity["traces of the check in training data"]["held"] is True
    assert record["ledger"]["number"] == 1


def test_past_the_budget_everything_is_invalid(result, parents, tmp_path):
    experts = tmp_path / "experts"
    store = make_or_open(experts, 1, DataConfig().splits.salt)
    store.look(Look("check-before", "before", "final", "check", {}, 1), 1)
    path = tmp_path / "again"
    path.mkdir()
    (path / "cache").symlink_to(result[3] / "cache")
    metrics, record, _ = run(parents, path, Asleep(), experts)
    said = "INVALID: look 2 of a budget of 1."
    assert record["headline"].startswith(said)
    assert (path / "check.txt").read_text().startswith(said)
    assert json.loads((path / "ledger.json").read_text())["valid"] is False
    assert metrics["check/valid"] == 0.0
    assert "BROKEN: looks" in record["headline"]
    assert "The final split had been opened once before (before)" in record["headline"]


def test_a_check_that_may_not_speak_of_fooling_says_why(result):
    """The knowledge table is of another base model than the tiny one."""
    _, record, _, path = result
    assert "the knowledge table is of" in record["no_fooling"]
    assert (path / "check.txt").read_text().endswith(f"{record['no_fooling']}\n")


def test_a_policy_equal_to_the_floor_gets_equal_answers(result):
    """The sampling noise is common to all policies, so equal weights show no gain at all."""
    record = result[1]
    floor, same, other = (record["policies"][name] for name in ("floor/seed0", "weak/seed0", "weak/seed1"))
    for part in ("responses", "correct", "logprobs", "approvals"):
        assert same[part] == floor[part]
    assert other["responses"] != record["policies"]["floor/seed1"]["responses"]
    found = outcomes(record)
    assert (found.policies["weak"]["free"][0] == found.policies["floor"]["free"][0]).all()


def test_the_anchor_is_a_sample_of_its_own(result):
    floor = result[1]["policies"]["floor/seed0"]
    assert len(floor["anchors"]) == 12
    assert all(len(row) == 2 for row in floor["responses"])
    assert floor["anchors"] != [row[0] for row in floor["responses"]]


def test_curves_start_at_the_floor_and_follow_snapshots(result):
    curves = json.loads((result[3] / "curves.json").read_text())
    assert [(one["arm"], one["seed"]) for one in curves] == [("weak", 0), ("weak", 1)]
    assert [point["updates"] for point in curves[0]["gold"]] == [0, 2]
    assert curves[0]["gold"][0]["free"] == curves[0]["gold"][1]["free"]
    assert curves[0]["updates"] == [0, 1]


def test_the_distance_from_sft_is_exact_and_nought_for_sft_itself(result):
    metrics, record, _, path = result
    floor, same, other = (record["policies"][name] for name in ("floor/seed0", "weak/seed0", "weak/seed1"))
    assert np.abs(same["kl"]).max() < 1e-5
    assert np.array(other["kl"]).min() > 1e-3
    assert np.max(floor["kl"]) == 0
    assert metrics["check/weak/kl"] == pytest.approx(np.mean([same["kl"], other["kl"]]), abs=1e-6)
    assert "Distance from SFT" in (path / "check.txt").read_text()


def test_reward_models_are_asked_about_samples_gold_pairs_and_snapshots(result):
    metrics, record, _, path = result
    rewards = record["rewards"]["weak/seed1"]
    assert np.shape(rewards["pool"]) == np.shape(rewards["samples"]) == (12, 2)
    assert rewards["pool"] != rewards["samples"]
    same = record["rewards"]["weak/seed0"]
    assert same["pool"] == same["samples"]
    assert len(rewards["pairs"]) == len(record["labels"]["line"]) == len(record["labels"]["arms"]["weak"])
    trails = json.loads((path / "trails.json").read_text())
    assert np.shape(trails["rewards"]["weak/seed1"]) == (2, 4, 2)
    assert [point["updates"] for point in trails["points"]["weak/seed1"]] == [0, 2]
    assert np.mean(trails["points"]["weak/seed1"][1]["kl"]) > 1e-3
    found = record["findings"]
    assert [row["n"] for row in found["best_of_n"]["weak"]] == [1, 2]
    assert found["recovered"]["label"]["missing"]["weak"].startswith("PGR needs a ceiling")
    assert metrics["check/weak/reward_model_pairs"] == pytest.approx(
        np.mean([record["rewards"][f"weak/seed{seed}"]["pairs"] for seed in (0, 1)])
    )


def test_without_a_filling_nothing_is_called_fooling(result):
    found = result[1]["findings"]
    assert found["fooling"] == {}
    assert "the knowledge table is of" in found["missing"]["fooling"]
    assert not any("fooling" in name for name in result[0])


def test_a_restart_asks_nothing_again(result, parents, tmp_path):
    path = tmp_path / result[3].name
    path.mkdir()
    (path / "cache").symlink_to(result[3] / "cache")

    experts = result[3].parent / "experts"
    metrics, _, _ = run(parents, path, Asleep(), experts)
    assert metrics == result[0]
    assert (path / "check.json").read_bytes() == (result[3] / "check.json").read_bytes()
    assert len(open_store(experts).ledger.entries()) == 1


def test_an_arm_without_a_policy_is_refused(parents):
    with pytest.raises(ValueError, match=r"arms.best: there is no ppo/best/seed0 .*best-of-n needs no arm"):
        find_policies(MODEL, CHECK, ["weak", "best"], [0], parents)
    with pytest.raises(ValueError, match=r"arms\.floor"):
        find_policies(MODEL, CHECK, ["floor"], [0], parents)
    with pytest.raises(ValueError, match=r"check\.floor"):
        find_policies(MODEL, CheckConfig(floor="weak"), ["weak"], [0], parents)


def test_without_sft_the_base_model_is_the_floor(parents):
    found = find_policies(MODEL, CHECK, ["weak"], [0], {"ppo/weak/seed0": parents["ppo/weak/seed0"]})
    assert found.models["floor", 0] == resolve("tiny")
