"""The stage graph of a run: which artifacts it needs, under which keys, and which of them exist. Torch-free.

sft -> pairs (-> choice) -> judgements (a tier) -> reward_model (a member) -> ppo (an arm) -> check (all arms and seeds)
                             judgements (weak) -> gate                                   -> monitor, if there is one

With `plant`, SFT starts from a base model that the run taught itself, one for all seeds.

With labels.rounds above 1, the PPO policy samples the next round's pairs, and judgements go on from those so far.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sandwiching.configs.load import arm_config
from sandwiching.configs.schema import ArmLabels, Config, JudgementsConfig, LabelsConfig, PeopleFiles
from sandwiching.launch.nodes import OF_ALL_ARMS, OF_THE_ENSEMBLE, Graph, Node
from sandwiching.launch.stages import STAGES
from sandwiching.policy.base_models import identity
from sandwiching.tasks.knowledge import table_fingerprint
from sandwiching.tasks.readers import file_fingerprint
from sandwiching.tasks.registry import fingerprint
from sandwiching.tasks.written_verdicts import READER


def _node(stage: str, config: Config, parents: dict[str, Node], base: str | None, data: str, **labels: Any) -> Node:
    blocks = {name: getattr(config, name) for name in STAGES[stage].blocks}
    extras: dict[str, Any] = {"data": data} if "task" in blocks else {}
    if "model" in blocks and not {"sft", "plant"} & parents.keys() and stage not in OF_ALL_ARMS:
        extras["base"] = base
    return Node(stage, labels, blocks, extras, parents)


def rater_models(judgements: JudgementsConfig) -> list[tuple[str, str, str | None]]:
    """(part, path, revision) of the local models that judge or help."""
    asked = (
        ("rater", judgements.model.path, judgements.model.revision),
        ("assistant", judgements.assistant, None),
    )
    return [(part, path, revision) for part, path, revision in asked if path is not None]


def _judgements_node(
    config: Config, parents: dict[str, Node], trunk: dict[str, Node], data: str, cheap: bool, turn: int, **labels: Any
) -> Node:
    """Experts are the task's own, unless people judge. What people said, and the models that judge and help, are in the
    key."""
    judging = config.judgements
    # Which pairs is in the parents; only the cost of a label is left.
    config = replace(config, labels=LabelsConfig(cost=config.labels.cost))
    if labels["tier"] == "expert" and judging.raters != "people":
        config = replace(config, judgements=JudgementsConfig(raters_per_pair=judging.raters_per_pair))
    elif judging.assistance != "none" and judging.assistant is None:
        parents = {**parents, **trunk}
    node = _node("judgements", config, parents, None, data, **labels)
    for name, path, revision in rater_models(config.judgements):
        node.extras[name] = identity(path, revision, cheap=cheap)
    if config.judgements.raters == "people":
        path = Path(config.judgements.people.path(labels["tier"], labels["seed"], turn)).expanduser()
        node.blocks["judgements"] = replace(config.judgements, people=PeopleFiles(**{labels["tier"]: str(path)}))
        node.extras |= (
            {"people": f"sha256-{file_fingerprint(path)}"} if path.exists() else {"people": None, "awaits": path}
        )
    if config.judgements.raters == "model" and config.judgements.model.answer == "text":
        node.extras["reader"] = READER
    return node


@dataclass(slots=True)
class _Arm:
    """An arm's chain for one seed, as far as it has been built."""

    graph: Graph
    config: Config
    name: str
    seed: int
    base: str | None
    data: str
    cheap: bool
    planted: dict[str, Node] = field(default_factory=dict)
    turn: int = 0
    trunk: dict[str, Node] = field(default_factory=dict)
    compared: dict[str, Node] = field(default_factory=dict)
    judged: dict[str, Node] = field(default_factory=dict)
    members: dict[str, Node] = field(default_factory=dict)
    policy: dict[str, Node] = field(default_factory=dict)

    def add(self, node: Node) -> Node:
        """Into the graph, named by the round where there are several."""
        if self.config.labels.rounds > 1 and node.stage != "sft":
            node.turn = self.turn
        return self.graph.add(node, self.name)

    def node(self, stage: str, parents: dict[str, Node], config: Config | None = None, **labels: Any) -> Node:
        """A node of this seed."""
        return self.add(_node(stage, config or self.config, parents, self.base, self.data, seed=self.seed, **labels))

    def build(self) -> dict[str, Node]:
        """All rounds; returns what the check reads of the last."""
        config = self.config
        if config.sft is not None:
            self.trunk["sft"] = self.node("sft", self.planted)
        for self.turn in range(config.labels.rounds):
            self.judge()
            self.train_members()
            if config.ppo is not None:
                # Every round starts from SFT again, so that KL is to SFT in all of them.
                self.policy = {"ppo": self.node("ppo", {**self.trunk, **self.members})}
        if config.ppo is None:
            return self.members
        return {**self.policy, **self.trunk, **self.members}

    def judge(self) -> None:
        """Pairs, those that labels are spent on, and the judgements of all rounds so far."""
        config, labels = self.config, self.config.labels
        if config.task.name != "judgements":
            if self.turn == 0:
                self.compared = {"pairs": self.node("pairs", self.trunk)}
            elif self.policy:
                self.compared = {"pairs": self.node("pairs", self.policy, round=self.turn)}
        asked = self.compared
        if labels.pairs_per_round is not None:
            seen = self.members if labels.choose == "variance" else {}
            # Without reward models yet, arms choose alike and share what they chose.
            first = config if self.turn else replace(config, labels=replace(labels, choose="uniform"))
            asked = {"pairs": self.node("choice", {**self.compared, **self.judged, **seen}, first)}
        tier = config.arms[self.name].tier
        judged = _judgements_node(
            config, {**asked, **self.judged}, self.trunk, self.data, self.cheap, self.turn, seed=self.seed, tier=tier
        )
        self.judged = {"judgements": self.add(judged)}

    def train_members(self) -> None:
        """Reward models, behind the gate of weak judgements."""
        config = self.config
        gates = []
        if config.gate is not None and config.arms[self.name].tier == "weak":
            gates = [self.node("gate", self.judged)]
        parents = {**self.judged, **self.trunk}
        self.members = {}
        for member in range(config.reward_model.members):
            node = self.node("reward_model", parents, member=member)
            node.after = gates
            self.members[f"reward_model/{member}"] = node


def arm_labels(config: Config, arm: str) -> ArmLabels:
    """Who labels for an arm; config: as the arm sees it."""
    judging = config.judgements
    return ArmLabels(
        tier=config.arms[arm].tier, raters=judging.raters, raters_per_pair=judging.raters_per_pair, task=config.task
    )


def build_graph(config: Config, cheap: bool = False) -> Graph:
    """The graph of a resolved config. `cheap`: never hash more than 100 MB, leave such keys unknown."""
    graph = Graph()
    base = identity(config.model.path, config.model.revision, cheap=cheap)
    data = fingerprint(config.task, config.data)
    checked: dict[str, Node] = {}
    judged: dict[str, Node] = {}
    arms = {arm: arm_config(config, arm) for arm in config.arms}
    planted = {}
    if config.plant is not None:
        planted = {"plant": graph.add(_node("plant", config, {}, base, data), None)}
    for seed in config.seeds:
        if config.sft is not None:
            checked[f"sft/seed{seed}"] = graph.add(_node("sft", config, planted, base, data, seed=seed), None)
        for arm, settings in arms.items():
            chain = _Arm(graph, settings, arm, seed, base, data, cheap, planted)
            nodes = chain.build()
            judged[f"judgements/{arm}/seed{seed}"] = chain.judged["judgements"]
            for name, node in nodes.items():
                checked[f"{name}/{arm}/seed{seed}"] = node
    labels: dict[str, Any] = {"arms": list(config.arms), "seeds": list(config.seeds)}
    blocks = {arm: settings.reward_model for arm, settings in arms.items()}
    labels["ensembles"] = {arm: [getattr(block, name) for name in OF_THE_ENSEMBLE] for arm, block in blocks.items()}
    if config.task.name != "judgements" and config.ppo is not None:
        labels["labels"] = {arm: arm_labels(settings, arm) for arm, settings in arms.items()}
    check = _node("check", config, checked, base, data, **labels)
    check.extras["knowledge"] = table_fingerprint()
    graph.add(check, None)
    reported = {"check": check}
    if config.monitor is not None and "labels" in labels:
        watched = {"check": check, **checked, **judged}
        asked = {name: labels[name] for name in ("arms", "seeds", "ensembles")}
        reported["monitor"] = graph.add(_node("monitor", config, watched, base, data, **asked), None)
    graph.add(_node("report", config, reported, base, data), None)
    graph.name_nodes()
    return graph
