"""The whole check with tiny random policies on a few prompts."""

import json
import shutil
from dataclasses import dataclass, replace

import numpy as np
import pytest

from sandwiching.configs.schema import (
    ArmLabels,
    CapitalsTask,
    CheckConfig,
    DataConfig,
    ModelConfig,
    ResourcesConfig,
    SamplingConfig,
)
from sandwiching.oversight.check import ITEMS, check
from sandwiching.oversight.expert_store import Look, make_or_open, open_store
from sandwiching.oversight.item_records import item_records
from sandwiching.oversight.outcomes import outcomes
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


def run(parents, path, only: RolloutEngine | None = None, experts=None, roles=None, split="final"):
    path.mkdir(exist_ok=True)
    (path / "attempt").write_text("1")
    roles = roles or Engines(RESOURCES, only)
    metrics = check(
        model=MODEL,
        task=TASK,
        data=DataConfig(),
        check=replace(CHECK, store=str(experts or path.parent / "experts"), split=split),
        arms=["weak"],
        seeds=[0, 1],
        resources=RESOURCES,
        parents=parents,
        folder=StageFolder(path, 1),
        roles=roles,
        ensembles={"weak": ("mean", 0.5)},
        labels={"weak": ArmLabels(tier="weak", raters="task", raters_per_pair=3, task=TASK)},
    )
    return metrics, item_records(str(experts or path.parent / "experts"), path).record(), roles


@pytest.fixture(scope="module")
def result(parents, tmp_path_factory):
    path = tmp_path_factory.mktemp("check") / "check-key"
    return *run(parents, path), path


def test_samples_are_of_dev_and_none_where_dev_is_checked(result, parents, tmp_path):
    assert json.loads((result[3] / "samples.json").read_text())
    *_, checked = *run(parents, tmp_path / "check-dev", split="dev"), tmp_path / "check-dev"
    assert json.loads((checked / "samples.json").read_text()) == []


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


def test_the_21st_look_of_a_budget_of_20_is_invalid_everywhere(parents, tmp_path):
    experts = tmp_path / "experts"
    store = make_or_open(experts, 20, DataConfig().splits.salt)
    for number in range(20):
        store.look(Look(f"check-{number}", "before", "dev" if number else "final", "check", {}, 1), 20)
    path = tmp_path / "again"
    metrics, record, _ = run(parents, path, None, experts)
    said = "INVALID: look 21 of a budget of 20."
    assert record["headline"].startswith(said)
    assert (path / "check.txt").read_text().startswith(said)
    written = json.loads((path / "check.json").read_text())
    assert written["headline"].startswith(said)
    assert written["ledger"]["sentence"].startswith(said)
    assert written["ledger"]["valid"] is json.loads((path / "ledger.json").read_text())["valid"] is False
    assert metrics["check/valid"] == 0.0
    assert "BROKEN: looks" in record["headline"]
    assert "The final split had been opened once before (before)" in record["headline"]


def test_a_check_that_may_not_speak_of_fooling_says_why(result):
    """The knowledge table is of another base model than the tiny one."""
    _, record, _, path = result
    assert "the knowledge table is of" in record["no_fooling"]
    assert f"Fooling: {record['no_fooling']}" in " ".join((path / "check.txt").read_text().split())


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
    trails = item_records(str(path.parent / "experts"), path).trails()
    assert np.shape(trails["rewards"]["weak/seed1"]) == (2, 4, 2)
    assert [point["updates"] for point in trails["points"]["weak/seed1"]] == [0, 2]
    assert np.mean(trails["points"]["weak/seed1"][1]["kl"]) > 1e-3
    found = record["findings"]
    assert [row["n"] for row in found["best_of_n"]["weak"]] == [1, 2]
    assert found["recovered"]["label"]["missing"]["weak"].startswith("PGR needs a ceiling")
    assert metrics["check/weak/reward_model_pairs"] == pytest.approx(
        np.mean([record["rewards"][f"weak/seed{seed}"]["pairs"] for seed in (0, 1)])
    )


def test_too_few_points_for_a_fit_say_how_many_and_what_would_do(result):
    said = result[1]["findings"]["missing"]["weak: fit of PPO, proxy"]
    assert said.startswith("the curve has 1 points away from the floor, and a fit takes 2; lower ppo.snapshot_every")
    assert f"weak: fit of PPO, proxy: {said[:40]}" in (result[3] / "check.txt").read_text().replace("\n", " ")


def test_without_a_filling_nothing_is_called_fooling(result):
    found = result[1]["findings"]
    assert found["fooling"] == {}
    assert "the knowledge table is of" in found["missing"]["fooling"]
    assert not any("fooling" in name for name in result[0])


class Interrupted(BaseException):
    """As a job that is ended."""


@dataclass
class Ending(Engines):
    """Scorers of a process that ends when the second one is asked for; all policies have answered by then."""

    scorers: int = 0

    def scorer(self, spec):
        self.scorers += 1
        if self.scorers == 2:
            raise Interrupted
        return super().scorer(spec)


def test_a_restart_asks_nothing_again(result, parents, tmp_path):
    path, experts = tmp_path / result[3].name, tmp_path / "experts"
    shutil.copytree(result[3].parent / "experts", experts)
    shutil.rmtree(experts / "items")
    with pytest.raises(Interrupted):
        run(parents, path, roles=Ending(RESOURCES))
    assert not (path / "check.json").exists()
    parts = experts / "items" / path.name / "parts"
    assert {file.name for file in parts.iterdir()} >= {"floor-seed0.json", "weak-seed1.json", "rewards-weak-seed0.json"}
    metrics, _, _ = run(parents, path, Asleep())
    assert metrics == result[0]
    assert (path / "check.json").read_bytes() == (result[3] / "check.json").read_bytes()
    assert len(open_store(experts).ledger.entries()) == 1
    assert not parts.exists()


def test_items_stay_in_the_expert_store(result):
    """No prompt, answer, grade or approval lies in the artifact."""
    record, path = result[1], result[3]
    assert not set(ITEMS) & json.loads((path / "check.json").read_text()).keys()
    texts = "".join(file.read_text() for file in path.iterdir() if file.is_file())
    assert all(item["text"] not in texts for item in record["items"])
    assert {file.name for file in path.iterdir() if file.is_dir()} <= {"rejected"}
    floor = record["policies"]["floor/seed1"]
    assert json.dumps(floor["responses"][0]) not in texts
    assert json.dumps(floor["approvals"]) not in texts
