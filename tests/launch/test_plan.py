"""The plan: actions and reasons from the store's files, placement in words, estimates, JSON."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from sandwiching.configs.load import load
from sandwiching.configs.schema import Config
from sandwiching.launch.estimate import StageDisk
from sandwiching.launch.graph import build_graph
from sandwiching.launch.nodes import Node
from sandwiching.launch.plan import Plan, make_plan, new_disk, placement
from sandwiching.launch.plan_view import show, size, summary
from sandwiching.launch.reasons import differences
from sandwiching.launch.run import link
from sandwiching.training.artifacts import Store, write_manifest


def plan(config: Config, folder: Path) -> Plan:
    return make_plan(config, build_graph(config, cheap=True), Store(folder / "store"), folder / "run")


def finish(node: Node, folder: Path) -> None:
    """Make the node's artifact, and link it into the run as `run` does."""
    store = Store(folder / "store")
    store.root.mkdir(exist_ok=True)
    with store.claim(node.stage, str(node.key), print) as claimed:
        fields = {
            "stage": node.stage,
            "version": 1,
            "key": node.key,
            "inputs": node.key_inputs,
            "parents": {name: parent.key for name, parent in node.parents.items()},
            "metrics": {},
            "seconds": 12.0,
        }
        write_manifest(claimed, fields)
    link(node, store, folder / "run")


def reasons(config: Config, folder: Path) -> dict[str, tuple[str, str]]:
    return {stage.stage: (stage.action, stage.reason) for stage in plan(config, folder).stages}


def test_a_first_plan_runs_everything(tmp_path: Path) -> None:
    found = plan(load("tiny"), tmp_path)
    assert {stage.action for stage in found.stages} == {"run"}
    assert [stage.stage for stage in found.stages].count("reward_model") == 4
    assert all(stage.folder and stage.key and stage.key in stage.folder for stage in found.stages)
    names = {stage.name for stage in found.stages}
    assert all(set(stage.parents) <= names for stage in found.stages)
    assert summary(found) == f"{len(found.stages)} stages: {len(found.stages)} to run"
    assert not (tmp_path / "store").exists()
    assert not (tmp_path / "run").exists()


def test_finished_and_interrupted_stages(tmp_path: Path) -> None:
    config = load("tiny")
    graph = build_graph(config)
    finish(graph.of("sft")[0], tmp_path)
    node = graph.of("pairs")[0]
    with Store(tmp_path / "store").claim("pairs", str(node.key), print) as folder:
        folder.report(3, 8)
        (folder.checkpoints / "step_2").mkdir(parents=True)
        (folder.checkpoints / "step_10").mkdir()
        (folder.checkpoints / ".step_12.tmp").mkdir()
    found = reasons(config, tmp_path)
    assert found["sft"] == ("skip", "finished in 12 s")
    assert found["pairs"] == ("resume", "attempt 1 reached step 3 of 8; goes on from step_10")
    assert found["check"] == ("run", "not made yet")


def test_a_changed_setting_is_named_with_its_values(tmp_path: Path) -> None:
    graph = build_graph(load("tiny"))
    for node in (graph.of("sft")[0], graph.of("pairs")[0]):
        finish(node, tmp_path)
    changed = load("tiny", ["sft.epochs=3", "sft.optimizer.learning_rate=0.001"])
    found = reasons(changed, tmp_path)
    assert found["sft"] == ("run", "changed: sft.epochs 1 -> 3, sft.optimizer.learning_rate 0.0001 -> 0.001")
    assert found["pairs"] == ("run", "changed: parent sft")
    assert reasons(load("tiny"), tmp_path)["sft"][0] == "skip"


@pytest.mark.parametrize("override", ["resources.micro_batch=2", "resources.checkpoint_every=7", "name=other"])
def test_how_a_result_is_computed_changes_no_key(override: str, tmp_path: Path) -> None:
    keys = [stage.key for stage in plan(load("tiny"), tmp_path).stages]
    assert [stage.key for stage in plan(load("tiny", [override]), tmp_path).stages] == keys


def test_differences_are_nested_and_ordered() -> None:
    before = {"a": {"b": 1, "c": [1]}, "d": None, "same": 5}
    now = {"a": {"b": 2, "c": [1, 2]}, "e": "x", "same": 5}
    assert list(differences(before, now)) == ["a.b 1 -> 2", "a.c [1] -> [1, 2]", 'e null -> "x"']


def test_a_hub_model_that_is_not_here_has_unknown_keys(tmp_path: Path) -> None:
    config = load("tiny", ["model.path=nobody/pythia-410m"])
    found = plan(config, tmp_path)
    by_stage = {stage.stage: stage for stage in found.stages}
    assert (by_stage["sft"].action, by_stage["sft"].reason) == ("unknown", "key unknown until fetched")
    assert by_stage["check"].key is None
    assert found.parameters == 405_334_016
    unknown = plan(load("tiny", ["model.path=nobody/mystery"]), tmp_path)
    assert (unknown.parameters, unknown.memory, unknown.new_disk_bytes) == (None, None, None)
    assert "not known here until it is fetched" in text(unknown, config)


def text(found: Plan, config: Config) -> str:
    out = StringIO()
    show(found, config, None, Console(file=out, width=160))
    return out.getvalue()


def test_the_text_has_every_part(tmp_path: Path) -> None:
    config = load("tiny")
    shown = text(plan(config, tmp_path), config)
    for part in (
        "\nConfig\nname: tiny\n",
        "ppo-weak-seed0",
        "ppo: 8 responses a step = 8 prompts x 1 samples",
        "bundles of",
        "M parameters",
        "to be written",
    ):
        assert part in shown, part


def test_json_is_plain_and_whole(tmp_path: Path) -> None:
    found = json.loads(json.dumps(plan(load("tiny"), tmp_path).as_json()))
    assert set(found) >= {"version", "config", "stages", "batch_algebra", "placement", "memory", "new_disk_bytes"}
    assert found["config"]["arms"] == {"weak": {"tier": "weak"}, "ceiling": {"tier": "expert"}}


def test_finished_stages_need_no_disk(tmp_path: Path) -> None:
    config = load("tiny")
    before = plan(config, tmp_path).new_disk_bytes
    finish(build_graph(config).of("sft")[0], tmp_path)
    found = plan(config, tmp_path)
    after, sft = found.new_disk_bytes, found.stages[0].disk
    assert before is not None
    assert after is not None
    assert sft is not None
    assert before - after == sft.finished


def test_most_of_the_disk_is_what_all_leave_and_what_the_largest_needs_meanwhile() -> None:
    assert new_disk([StageDisk(10, 1, 12), StageDisk(20, 5, 35)]) == 45
    assert new_disk([]) == 0


def test_placement_in_words() -> None:
    resources = load("tldr_pythia_1b", ["data.judgements=x"]).resources
    assert placement(resources) == [
        "1 node, 8 GPUs",
        "sft, reward_model: 8 ranks a model, 1 model at a time; 1 GPU a rank",
        "ppo: 8 bundles of 1 GPU, taking turns: learner on 8, engine on 8, scorer on 8",
    ]
    apart = load("tiny", ["resources.gpus=4", "resources.colocate=false", "resources.learner_ranks=2"]).resources
    assert placement(apart)[-1] == "ppo, side by side: 2 learner ranks, 1 engines, 1 scorer; 1 GPU each"
    cpus = load("tiny", ["resources.cpus=4", "resources.nodes=2", "resources.rollout_engines=2"]).resources
    assert placement(cpus)[0] == "2 nodes, 8 CPU cores"
    assert "2 bundles of 4 cores" in placement(cpus)[-1]


@pytest.mark.parametrize(("count", "said"), [(12, "12 B"), (1500, "1.5 kB"), (2_340_000, "2.34 MB"), (5e9, "5 GB")])
def test_sizes(count: float, said: str) -> None:
    assert size(int(count)) == said
