"""Labels spent in rounds: what chains, what is shared, and what stays as it was without them."""

from __future__ import annotations

from sandwiching.configs.load import load
from sandwiching.launch.graph import build_graph
from sandwiching.launch.nodes import Graph


def graph(*overrides: str) -> Graph:
    return build_graph(load("tiny", list(overrides)))


def keys(built: Graph) -> dict[str, str | None]:
    return {node.slug: node.key for node in built.nodes}


SPENT = ("ppo=null", "labels.pairs_per_round=4", "labels.rounds=3", "arms.variance.labels.choose=variance")


def test_labels_that_are_not_spent_in_rounds_change_no_key() -> None:
    """Keys of the stages as they were before there was such a block."""
    assert keys(graph("labels.cost.expert=25")) == keys(graph())
    judged = graph().of("judgements")[0]
    assert set(judged.key_inputs) == {"version", "task", "data", "judgements", "seed", "tier"}
    assert graph().of("pairs")[0].key_inputs.keys() >= {"pairs", "seed"}
    assert "round" not in graph().of("pairs")[0].key_inputs


def test_rounds_chain_from_the_policy_to_the_next_pairs() -> None:
    built = {node.slug: node for node in graph("labels.rounds=2").nodes}
    first, second = built["ppo-weak-seed0-round0"], built["ppo-weak-seed0-round1"]
    pairs = built["pairs-weak-seed0-round1"]
    assert pairs.parents == {"ppo": first}
    judged = built["judgements-seed0-weak-round1"]
    assert judged.parents == {"pairs": pairs, "judgements": built["judgements-seed0-weak-round0"]}
    members = {node for node in second.parents.values() if node.stage == "reward_model"}
    assert {node.parents["judgements"].slug for node in members} == {judged.slug}
    assert second.parents["sft"] is first.parents["sft"], "PPO starts from SFT in every round"
    check = built["check"]
    assert check.parents["ppo/weak/seed0"] is second


def test_another_round_keeps_those_before_it() -> None:
    two, three = keys(graph("labels.rounds=2")), keys(graph("labels.rounds=3"))
    assert {key for slug, key in two.items() if slug not in ("check", "report")} < set(three.values())
    one = {key for slug, key in keys(graph()).items() if slug not in ("check", "report")}
    assert one < set(two.values())


def test_arms_share_the_first_round_and_part_when_they_choose_otherwise() -> None:
    built = graph(*SPENT, "arms.variance.tier=weak")
    chosen = built.of("choice")
    shared = [node for node in chosen if len(node.arms) == 3]
    assert [node.turn for node in shared] == [0]
    assert {node.arms[0] for node in chosen if node.turn == 1} == {"weak", "variance", "ceiling"}
    later = {tuple(sorted({parent.stage for parent in node.parents.values()})) for node in chosen if node.turn}
    assert later == {("judgements", "pairs"), ("judgements", "pairs", "reward_model")}
    assert {node.slug for node in built.of("pairs")} == {"pairs-seed0-round0"}
    names = [node.slug for node in built.nodes]
    assert len(set(names)) == len(names)
    last = [node for node in built.of("check")[0].parents.values() if node.stage == "reward_model"]
    assert {node.turn for node in last} == {2}


def test_what_uniform_choice_spends_depends_on_no_reward_model() -> None:
    before, after = (keys(graph(*SPENT, override)) for override in ("reward_model.members=2", "reward_model.epochs=4"))
    same = {slug.split("-")[0] for slug, key in before.items() if after[slug] == key and "variance" not in slug}
    assert {"pairs", "choice", "judgements"} <= same
    changed = {slug for slug, key in before.items() if after[slug] != key}
    assert {"choice-variance-seed0-round1", "judgements-variance-seed0-weak-round2"} <= changed
