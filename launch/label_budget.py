"""How many labels a run asks for, and what they cost: by round, tier and arm. From the graph alone; torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

from sandwiching.configs.schema import Config
from sandwiching.launch.nodes import Graph, Node
from sandwiching.tasks.registry import make_task
from sandwiching.training.artifacts import Store, read_manifest


@dataclass(frozen=True, slots=True)
class JudgedRound:
    """Labels of one judgements artifact beyond those of the round before. most: responses may coincide, which leaves
    fewer pairs; with the pairs made already, the numbers are exact. made: they are given already."""

    stage: str
    round: int
    tier: str
    arms: list[str]
    pairs: int
    labels: int
    units: float
    most: bool
    made: bool


@dataclass(frozen=True, slots=True)
class LabelBudget:
    """All rounds of a run; artifacts that arms share are asked for once."""

    rounds: list[JudgedRound]

    def lines(self) -> list[str]:
        """A line a round and tier, summed over seeds, and the sums."""
        lines = []
        for round, tier, arms in dict.fromkeys((one.round, one.tier, tuple(one.arms)) for one in self.rounds):
            rows = [one for one in self.rounds if (one.round, one.tier, tuple(one.arms)) == (round, tier, arms)]
            seeds = f", {len(rows)} seeds" if len(rows) > 1 else ""
            lines.append(f"round {round}, {tier} ({', '.join(arms)}{seeds}): {said(rows)}")
        for tier in dict.fromkeys(one.tier for one in self.rounds):
            lines.append(f"{tier} in all: {said([one for one in self.rounds if one.tier == tier])}")
        made = sum(one.units for one in self.rounds if one.made)
        done = f", {made:g} of them spent" if made else ""
        return [*lines, f"cost: {sum(one.units for one in self.rounds):g} units{done}"]


def said(rows: list[JudgedRound]) -> str:
    """Sums in words."""
    pairs, labels = sum(one.pairs for one in rows), sum(one.labels for one in rows)
    most = "at most " if any(one.most for one in rows) else ""
    return f"{most}{pairs} pairs, {labels} labels, {sum(one.units for one in rows):g} units"


def label_budget(config: Config, graph: Graph, store: Store) -> LabelBudget | None:
    """None where the judgements lie in a file already."""
    if config.task.name == "judgements":
        return None
    prompts: dict[str, int] = {}
    return LabelBudget([_judged(node, config, store, prompts) for node in graph.of("judgements")])


def _judged(node: Node, config: Config, store: Store, prompts: dict[str, int]) -> JudgedRound:
    asked, left_out = node.parents["pairs"], 0
    earlier = node.parents.get("judgements")
    source = asked.parents["pairs"] if asked.stage == "choice" else asked
    while earlier is not None:
        parent = earlier.parents["pairs"]
        if asked.stage == "choice" and parent.parents.get("pairs") is source:
            left_out += parent.blocks["labels"].pairs_per_round
        earlier = earlier.parents.get("judgements")
    pairs, exact = _sampled(source, store, prompts)
    if asked.stage == "choice":
        pairs = min(asked.blocks["labels"].pairs_per_round, max(pairs - left_out, 0))
    labels = pairs * node.blocks["judgements"].raters_per_pair
    tier = node.labels["tier"]
    return JudgedRound(
        stage=node.slug,
        round=node.turn or 0,
        tier=tier,
        arms=node.arms,
        pairs=pairs,
        labels=labels,
        units=labels * getattr(config.labels.cost, tier),
        most=not exact,
        made=node.state(store) == "done",
    )


def _sampled(node: Node, store: Store, prompts: dict[str, int]) -> tuple[int, bool]:
    """Pairs of a pairs artifact, and whether they are known or the most that there can be."""
    folder = node.folder(store)
    if folder is not None and node.state(store) == "done":
        return int(read_manifest(folder).metrics.get("pairs/pairs", 0)), True
    block, task = node.blocks["pairs"], node.blocks["task"]
    # The most there can be, without a second for reading the task.
    count = block.max_prompts
    if count is None:
        name = repr(task)
        if name not in prompts:
            prompts[name] = len(make_task(task, node.blocks["data"], node.labels["seed"]).prompts("train"))
        count = prompts[name]
    return count * comb(block.samples, 2), False
