"""How many labels a run asks for: by hand for small configs; exact once pairs are sampled."""

from __future__ import annotations

from pathlib import Path

from sandwiching.configs.load import load
from sandwiching.launch.graph import build_graph
from sandwiching.launch.label_budget import LabelBudget, label_budget
from sandwiching.launch.nodes import Graph
from sandwiching.training.artifacts import Store, write_manifest

ROUNDS = ("ppo=null", "labels.rounds=3", "labels.pairs_per_round=10", "arms.variance.labels.choose=variance")


def built(*overrides: str) -> tuple[Graph, LabelBudget, Store]:
    return budget_in(Path("nowhere"), *overrides)


def budget_in(folder: Path, *overrides: str) -> tuple[Graph, LabelBudget, Store]:
    config = load("tiny", overrides)
    graph, store = build_graph(config), Store(folder)
    found = label_budget(config, graph, store)
    assert found is not None
    return graph, found, store


def test_one_round_judges_all_pairs() -> None:
    """8 prompts, 2 samples each: 8 pairs, 2 raters."""
    _, found, _ = built("pairs.samples=3", "labels.cost.expert=5")
    assert [(one.tier, one.pairs, one.labels, one.units) for one in found.rounds] == [
        ("weak", 24, 48, 48.0),
        ("expert", 24, 48, 240.0),
    ]
    assert found.lines() == [
        "round 0, weak (weak): at most 24 pairs, 48 labels, 48 units",
        "round 0, expert (ceiling): at most 24 pairs, 48 labels, 240 units",
        "weak in all: at most 24 pairs, 48 labels, 48 units",
        "expert in all: at most 24 pairs, 48 labels, 240 units",
        "cost: 288 units",
    ]


def test_rounds_on_the_same_pairs_cannot_spend_more_than_there_are() -> None:
    _, found, _ = built(*ROUNDS, "pairs.samples=3", "seeds=[0,1]")
    weak = [one for one in found.rounds if one.arms == ["weak"] and one.stage.count("seed0")]
    # Round 0 is shared by both arms: 10; then 10, and the 4 that are left of 24.
    assert [(one.round, one.pairs) for one in weak] == [(1, 10), (2, 4)]
    shared = [one for one in found.rounds if one.arms == ["weak", "variance"]]
    assert [(one.round, one.pairs) for one in shared] == [(0, 10)] * 2
    assert "round 1, weak (variance, 2 seeds): at most 20 pairs, 40 labels, 40 units" in found.lines()
    # Two seeds of: 10 for both arms, 14 each.
    assert "weak in all: at most 76 pairs, 152 labels, 152 units" in found.lines()


def test_new_pairs_a_round_are_all_there_to_be_judged() -> None:
    _, found, _ = built("labels.rounds=2", "labels.pairs_per_round=8")
    assert [one.pairs for one in found.rounds] == [8, 8, 8, 8]


def test_sampled_pairs_make_it_exact_and_given_labels_count_as_spent(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    graph, _, store = budget_in(tmp_path / "store")
    for node, metrics in ((graph.of("pairs")[0], {"pairs/pairs": 5}), (graph.of("judgements")[0], {})):
        with store.claim(node.stage, str(node.key), print) as folder:
            fields = {"stage": node.stage, "version": 1, "key": node.key, "inputs": {}, "parents": {}, "seconds": 1.0}
            write_manifest(folder, {**fields, "metrics": metrics})
    _, found, _ = budget_in(tmp_path / "store")
    assert found.lines()[0] == "round 0, weak (weak): 5 pairs, 10 labels, 10 units"
    assert found.lines()[-1] == "cost: 110 units, 10 of them spent"


def test_a_file_of_judgements_has_no_budget(tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text("{}")
    config = load("arguments", [f"data.judgements={tmp_path / 'one.jsonl'}"])
    assert label_budget(config, build_graph(config), Store(tmp_path)) is None
