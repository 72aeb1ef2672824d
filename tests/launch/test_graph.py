"""What shares an artifact, and what makes a new one."""

from __future__ import annotations

import importlib
import inspect
import json
from pathlib import Path

import pytest

from sandwiching.configs.load import load
from sandwiching.launch.graph import build_graph
from sandwiching.launch.nodes import Graph
from sandwiching.launch.run import wanted_nodes
from sandwiching.launch.stages import STAGES

CONTEXT = {"resources", "parents", "folder", "roles", "observer"}
LABELS = {
    "plant": set(),
    "sft": {"seed"},
    "pairs": {"seed", "round"},
    "choice": {"seed"},
    "judgements": {"seed", "tier"},
    "gate": {"seed"},
    "reward_model": {"seed", "member"},
    "ppo": {"seed"},
    "check": {"arms", "seeds", "ensembles", "labels"},
    "monitor": {"arms", "seeds", "ensembles"},
    "report": set(),
}


def graph(*overrides: str, config: str = "tiny") -> Graph:
    return build_graph(load(config, list(overrides)))


def keys(built: Graph) -> dict[str, str | None]:
    return {node.slug: node.key for node in built.nodes}


def changed(*overrides: str) -> set[str]:
    before, after = keys(graph()), keys(graph(*overrides))
    return {slug.split("-")[0] for slug in before if before[slug] != after.get(slug)}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reads_the_blocks_of_its_key_and_no_others(stage: str) -> None:
    module, name = STAGES[stage].function.split(":")
    parameters = set(inspect.signature(getattr(importlib.import_module(module), name)).parameters)
    assert parameters - CONTEXT == set(STAGES[stage].blocks) | LABELS[stage]


def test_arms_share_what_they_have_in_common() -> None:
    built = graph()
    assert [len(built.of(stage)) for stage in STAGES] == [0, 1, 1, 0, 2, 1, 4, 2, 1, 0, 1]
    assert built.of("sft")[0].arms == ["weak", "ceiling"]


def test_names_are_unique_when_arms_differ_early() -> None:
    built = graph("arms.weak.sft.epochs=2")
    slugs = [node.slug for node in built.nodes]
    assert len(set(slugs)) == len(slugs)
    assert {node.slug for node in built.of("sft")} == {"sft-ceiling-seed0", "sft-weak-seed0"}


def test_the_floor_is_the_sft_policy_of_the_run_not_of_an_arm() -> None:
    built = graph("arms.weak.sft.epochs=2", "arms.ceiling.sft.epochs=3")
    floor = built.of("check")[0].parents["sft/seed0"]
    assert floor.arms == []
    assert floor.blocks["sft"].epochs == 1


def test_parents_come_first() -> None:
    done: list[object] = []
    for batch in graph("seeds=[0,1]").batches():
        for node in batch:
            assert all(parent in done for parent in node.parents.values())
        done += batch
    assert len(done) == len(graph("seeds=[0,1]").nodes)


@pytest.mark.parametrize(
    ("override", "stages"),
    [
        ("sft.optimizer.learning_rate=0.5", {"sft", "pairs", "judgements", "gate", "reward_model", "ppo", "check"}),
        ("reward_model.epochs=2", {"reward_model", "ppo", "check"}),
        ("reward_model.combine=wco", {"ppo", "check"}),
        ("reward_model.members=1", {"reward_model", "ppo", "check"}),
        ("reward_model.members=3", {"ppo", "check"}),
        ("ppo.optimizer.learning_rate=0.5", {"ppo", "check"}),
        ("check.samples=1", {"check"}),
        ("model.precision=bf16", {"sft", "pairs", "judgements", "gate", "reward_model", "ppo", "check"}),
        ("gate.max_p=0.02", {"gate"}),
        ("gate=null", {"gate"}),
        ("resources.zero_stage=3", set()),
        ("resources.learner_ranks=2", set()),
        ("resources.micro_batch=2", set()),
        ("resources.gpus=1", set()),
        ("tracking.to=[]", set()),
        ("name=other", set()),
    ],
)
def test_only_what_decides_a_result_makes_a_new_key(override: str, stages: set[str]) -> None:
    assert changed(override) == stages | ({"report"} if "check" in stages else set())


def test_reward_models_combined_in_another_way_are_checked_again(tmp_path: Path) -> None:
    """There is no PPO in between that would depend on it."""
    (tmp_path / "one.jsonl").write_text("{}")
    data = f"data.judgements={tmp_path / 'one.jsonl'}"
    before = keys(graph(data, config="arguments"))
    after = keys(graph(data, "arms.probe.reward_model.combine=wco", config="arguments"))
    assert {slug for slug in before if before[slug] != after[slug]} == {"check", "report"}


def base_model(folder: Path, weights: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def test_replaced_base_weights_make_new_keys_and_a_moved_folder_does_not(tmp_path: Path) -> None:
    first = keys(graph(f"model.path={base_model(tmp_path / 'a', b'one')}"))
    moved = keys(graph(f"model.path={base_model(tmp_path / 'b', b'one')}"))
    replaced = keys(graph(f"model.path={base_model(tmp_path / 'a', b'two two')}"))
    assert first == moved
    assert all(first[slug] != replaced[slug] for slug in first)


def test_a_changed_data_file_makes_new_keys_and_a_moved_one_does_not(tmp_path: Path) -> None:
    row = {"prompt": "p", "response_a": "a", "response_b": "b", "preference": "a", "rater": "x", "tier": "weak"}
    files = [tmp_path / name for name in ("one.jsonl", "two.jsonl", "three.jsonl")]
    for file, seconds in zip(files, (1, 1, 2), strict=True):
        file.write_text(json.dumps({**row, "seconds": seconds}) + "\n")
    first, moved, edited = (keys(graph(f"data.judgements={file}", config="arguments")) for file in files)
    assert first == moved
    assert all(first[slug] != edited[slug] for slug in first)


def test_only_a_stage_that_the_run_lacks_is_refused(tmp_path: Path) -> None:
    row = {"prompt": "p", "response_a": "a", "response_b": "b", "preference": "a", "rater": "x", "tier": "weak"}
    (tmp_path / "one.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(ValueError, match="--only pairs: this run has no such stage; it has "):
        wanted_nodes(graph(f"data.judgements={tmp_path / 'one.jsonl'}", config="arguments"), "pairs")


def test_only_a_stage_brings_its_ancestors() -> None:
    wanted = wanted_nodes(graph(), "judgements")
    assert {node.stage for node in wanted} == {"sft", "pairs", "judgements"}


MODEL = ("judgements.raters=model", "judgements.raters_per_pair=1")


def test_who_judges_decides_what_is_learnt_from_the_weak_and_not_where_or_how_fast() -> None:
    local = (*MODEL, "judgements.model.path=tiny")
    base = keys(graph("judgements.raters_per_pair=1"))
    judged = keys(graph(*local))
    other = {slug for slug in base if base[slug] != judged[slug]}
    assert other == {slug for slug in base if "weak" in slug or slug in ("check", "gate-seed0", "report")}
    assert keys(graph(*local, "judgements.model.concurrency=2", "judgements.model.cache=x")) == judged
    changes = (
        "judgements.model.disagreement=tie",
        "judgements.model.path=smollm2-135m",
        "judgements.assistance=honest",
        "judgements.assistance=dishonest",
    )
    found = [keys(graph(*local, change))["judgements-seed0-weak"] for change in changes]
    assert len({*found, judged["judgements-seed0-weak"]}) == 5


PEOPLE = ("judgements.raters=people", "arms.ceiling=null")


def test_what_people_said_is_in_the_key_and_where_it_lies_is_not(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("one.jsonl", "moved.jsonl", "other.jsonl")]
    for file, said in zip(files, ("x", "x", "y"), strict=True):
        file.write_text(said)
    first, moved, other = (keys(graph(*PEOPLE, f"judgements.people.weak={file}")) for file in files)
    assert first == moved
    changed = {slug for slug in first if first[slug] != other[slug]}
    assert changed == {slug for slug in first if slug.split("-")[0] not in ("sft", "pairs")}


def test_without_peoples_judgements_there_is_no_key_from_there_on(tmp_path: Path) -> None:
    built = graph(*PEOPLE, f"judgements.people.weak={tmp_path}/{{seed}}-{{round}}.jsonl", "seeds=[0,1]")
    known = {node.slug for node in built.nodes if node.key is not None}
    assert known == {"sft-seed0", "sft-seed1", "pairs-seed0", "pairs-seed1"}
    assert [node.awaits for node in built.of("judgements")] == [tmp_path / "0-0.jsonl", tmp_path / "1-0.jsonl"]
    with pytest.raises(ValueError, match=r"judgements\.people\.weak: is not set"):
        graph(*PEOPLE)
    both = graph(*PEOPLE, "judgements.people.weak=a", "arms.again={tier: weak, judgements: {people: {weak: b}}}")
    assert len(both.of("judgements")) == 2, "files that are not there yet are not one file"


def test_how_a_written_answer_is_read_is_in_the_key_where_one_is_read() -> None:
    local = (*MODEL, "judgements.model.path=tiny")
    judged = [graph(*local, *more).of("judgements") for more in ((), ("judgements.model.answer=text",))]
    assert [["reader" in node.extras for node in nodes] for nodes in judged] == [[False, False], [True, False]]
    assert "reader" not in graph().of("judgements")[0].extras
    assert keys(graph(*local, "judgements.model.most_unread=0.5")) == keys(graph(*local))


def test_a_critique_comes_from_the_runs_policy_or_from_a_model_of_its_own() -> None:
    local = (*MODEL, "judgements.model.path=tiny", "judgements.assistance=honest")
    policy, apart = graph(*local), graph(*local, "judgements.assistant=tiny")
    parents = [built.of("judgements")[0].parents.keys() for built in (policy, apart)]
    assert parents == [{"pairs", "sft"}, {"pairs"}]
    assert apart.of("judgements")[0].extras["assistant"] == apart.of("sft")[0].extras["base"]
    experts = [node for node in policy.of("judgements") if node.labels["tier"] == "expert"]
    assert experts[0].parents.keys() == {"pairs"}


def test_a_population_is_the_tasks() -> None:
    assert changed("task.population.longer={share: 0.3, rule: longer}") == {
        "sft",
        "pairs",
        "judgements",
        "gate",
        "reward_model",
        "ppo",
        "check",
        "report",
    }


def test_what_is_learned_of_raters_is_in_a_key_only_where_it_is_learned() -> None:
    assert changed("reward_model.rater_spread=2", "reward_model.rater_learning_rate=0.5") == set()
    assert changed("reward_model.noise=per_rater") >= {"reward_model", "ppo"}
    settings = ("reward_model.noise=per_rater", "reward_model.rater_spread=2")
    assert keys(graph(*settings[:1])) != keys(graph(*settings))


def test_the_gate_comes_before_reward_models_and_decides_no_key() -> None:
    built = graph()
    stages = [batch[0].stage for batch in built.batches()]
    assert stages.index("judgements") < stages.index("gate") < stages.index("reward_model")
    assert [node.arms for node in built.of("gate")] == [["weak"]]
    with_gate = {node.slug for node in wanted_nodes(built, "reward_model")}
    without = {node.slug for node in wanted_nodes(graph("gate=null"), "reward_model")}
    assert with_gate - without == {"gate-seed0"}


def test_arms_whose_raters_judge_otherwise_share_all_that_comes_before_the_judgements() -> None:
    built = graph("seeds=[0]", config="planted")
    assert [len(built.of(stage)) for stage in ("plant", "sft", "pairs", "judgements", "ppo")] == [1, 1, 1, 4, 4]
    assert built.of("sft")[0].parents == {"plant": built.of("plant")[0]}
    assert "base" not in built.of("sft")[0].extras
    before, after = keys(built), keys(graph("seeds=[0]", "arms.honest.task.competence=0.9", config="planted"))
    assert {slug.split("-seed0")[0] for slug in before if before[slug] != after[slug]} == {
        "judgements-honest",
        "gate-honest",
        "reward_model-honest",
        "ppo-honest",
        "check",
        "monitor",
        "report",
    }


def test_who_writes_demonstrations_decides_what_sft_learns() -> None:
    before, after = keys(graph(config="planted")), keys(graph("task.writers_competence=0.6", config="planted"))
    assert before["sft-seed0"] != after["sft-seed0"]
