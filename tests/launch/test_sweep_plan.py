"""`sandwich plan` of a sweep: trials, what they share, time by what finished before."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sandwiching.configs.load import load
from sandwiching.launch.estimate import StageDisk
from sandwiching.launch.graph import build_graph
from sandwiching.launch.plan import PlannedStage, sweep_disk
from sandwiching.launch.sweep.objective import means, trial_graph
from sandwiching.launch.sweep.plan import PlannedSweep, plan_sweep
from sandwiching.launch.sweep.room import all_at_once, most_steps
from sandwiching.training.artifacts import Store

CLEAR = ["sweep.space.ppo.optimizer=null", "sweep.space.ppo.kl=null"]


def planned(folder: Path, *overrides: str) -> PlannedSweep:
    found = plan_sweep(load("tiny_sweep", overrides), Store(folder / "store"), folder / "run")
    assert found is not None
    return found


def test_stages_that_nothing_touches_are_shared(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    assert plan.trials == 12
    assert plan.artifacts == {"sft": 1, "pairs": 1, "judgements": 1, "gate": 1, "reward_model": 2, "ppo": 12}
    assert plan_sweep(load("tiny"), Store(tmp_path), tmp_path) is None


@pytest.mark.parametrize(
    ("overrides", "artifacts"),
    [
        (["sweep.space.seeds={choice: [[0], [1], [2]]}"], [3, 3, 3, 3, 6, 12]),
        (["sweep.space.task.competence={uniform: [0.1, 0.6]}"], [12, 12, 12, 12, 24, 12]),
        (["sweep.space.judgements.raters_per_pair={choice: [1, 2]}"], [1, 1, 2, 2, 4, 12]),
        (["sweep.space.reward_model.optimizer.learning_rate={choice: [0.1, 0.2]}"], [1, 1, 1, 1, 4, 12]),
        (["sweep.metric=reward_model/accuracy", "sweep.scheduler=none"], [1, 1, 1, 1, 2]),
        (["seeds=[0,1]"], [2, 2, 2, 2, 4, 24]),
        (["arms.ceiling={tier: expert}"], [1, 1, 1, 1, 2, 12]),
        ([*CLEAR, "sweep.search=grid", "sweep.trials=null"], [1, 1, 1, 1, 2, 3]),
        (
            ["sweep.space.ppo.samples_per_prompt={choice: [1, 2]}", "sweep.space.ppo.advantage=null"],
            [1, 1, 1, 1, 2, 12],
        ),
    ],
)
def test_what_a_setting_touches_is_made_anew(tmp_path: Path, overrides: list[str], artifacts: list[int]) -> None:
    assert list(planned(tmp_path, *overrides).artifacts.values()) == artifacts


def test_no_expert_arm_is_trained_and_no_check_made() -> None:
    config = load("tiny_sweep", ["arms.ceiling={tier: expert}"])
    names = [node.slug for node in trial_graph(build_graph(config), config, "ppo/score").nodes]
    assert names == [
        "sft-seed0",
        "pairs-seed0",
        "judgements-seed0-weak",
        "gate-seed0",
        "reward_model-weak-seed0-member0",
        "reward_model-weak-seed0-member1",
        "ppo-weak-seed0",
    ]


def test_means_are_over_what_all_have_as_numbers() -> None:
    one = {"ppo/score": 1.0, "ppo/kl": 2.0, "ppo/loss": float("nan"), "time/update": 3.0, "step": 1, "prompts": ["p"]}
    assert means([one, {**one, "ppo/score": 2.0, "ppo/loss": 1.0}]) == {"ppo/score": 1.5, "ppo/kl": 2.0}
    assert means([one, {"ppo/score": 2.0}]) == {"ppo/score": 1.5}


def finished(store: Path, stage: str, seconds: float, parents: dict[str, str], inputs: dict[str, object]) -> None:
    folder = store / f"{stage}-k"
    folder.mkdir(parents=True)
    manifest = {"stage": stage, "seconds": seconds, "parents": parents, "inputs": inputs}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_time_is_known_once_each_stage_has_run(tmp_path: Path) -> None:
    before = planned(tmp_path)
    assert before.seconds is None
    assert "not known before sft, pairs, judgements" in before.lines()[-1]
    store = tmp_path / "store"
    config = load("tiny_sweep")
    (sft,) = build_graph(config).of("sft")
    finished(store, "sft", 10.0, {}, {"base": sft.extras["base"]})
    for stage, seconds in (("pairs", 5.0), ("judgements", 1.0), ("gate", 2.0), ("reward_model", 20.0)):
        finished(store, stage, seconds, {"sft": "k"}, {})
    finished(store, "ppo", 30.0, {"sft": "k"}, {"ppo": {"steps": 2}})
    plan = planned(tmp_path, "sweep.parallel=2")
    # PPO of 4 steps takes 60 s; two trials at a time.
    assert plan.seconds == (10 + 5 + 1 + 2 + 2 * 20 + 12 * 60) / 2
    assert planned(tmp_path, "ppo.steps=8").seconds == 10 + 5 + 1 + 2 + 2 * 20 + 12 * 120
    other = planned(tmp_path, "model.path=EleutherAI/pythia-14m", "model.revision=main")
    assert other.seconds is None


def test_disk_of_all_trials() -> None:
    sft, ppo = planned_stage("sft", StageDisk(10, 1, 12)), planned_stage("ppo", StageDisk(20, 5, 35))
    sweep = replace(planned(Path("/nowhere")), artifacts={"sft": 1, "ppo": 12}, parallel=3)
    assert sweep_disk([sft, ppo], sweep) == 10 + 12 * 20 + 3 * 15


def planned_stage(stage: str, disk: StageDisk) -> PlannedStage:
    return PlannedStage(stage, stage, ["weak"], "run", "", None, None, [], disk)


def test_room_for_all_trials() -> None:
    nodes = ["resources.cpus=4", "sweep.parallel=3"]
    assert all_at_once(load("tiny_sweep", nodes)).cpus == 12
    assert all_at_once(load("tiny_sweep", [*nodes, "resources.nodes=2"])).nodes == 6
    assert all_at_once(load("tiny_sweep")).cpus is None
    assert most_steps(load("tiny_sweep", ["sweep.space.ppo.steps={int: [4, 7]}"])) == 7
