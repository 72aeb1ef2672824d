"""The stage graph of a run: which artifacts it needs, under which keys, and which of them exist. Torch-free.

sft -> pairs (-> choice) -> judgements (a tier) -> reward_model (a member) -> ppo (an arm) -> check (all arms and seeds)
                             judgements (weak) -> gate

With labels.rounds above 1, the PPO policy samples the next round's pairs, and judgements go on from those so far.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from sandwiching.configs.keyed import key_settings
from sandwiching.configs.load import arm_config
from sandwiching.configs.schema import Config, JudgementsConfig, LabelsConfig, PeopleFiles
from sandwiching.launch.stages import STAGES
from sandwiching.policy.base_models import identity
from sandwiching.tasks.knowledge import table_fingerprint
from sandwiching.tasks.readers import file_fingerprint
from sandwiching.tasks.registry import fingerprint
from sandwiching.tasks.written_verdicts import READER
from sandwiching.training.artifacts import State, Store, stage_key

PATHS = (("model", "path"), ("model", "revision"), ("data", "judgements"))
"""Where content comes from: its hash is in the key instead."""

OF_THE_ENSEMBLE = ("combine", "uwo_lambda")
"""What the reward_model block says about all members together: no member depends on it."""

OF_LEARNED_NOISE = ("rater_spread", "rater_learning_rate")
"""What the reward_model block says about raters where it learns of them; nothing else depends on it."""


@dataclass(eq=False)
class Node:
    """One artifact to be. `labels` (seed, tier, member, ...) are function arguments and part of the key.

    `turn`: the round of labels, in its name alone; None where the run has one round.
    `after`: made before this one, though its content does not depend on them: a gate.
    """

    stage: str
    labels: dict[str, Any]
    blocks: dict[str, Any]
    extras: dict[str, Any]
    parents: dict[str, Node]
    arms: list[str] = field(default_factory=list)
    slug: str = ""
    turn: int | None = None
    after: list[Node] = field(default_factory=list)

    @property
    def awaits(self) -> Path | None:
        """The file of people's judgements that is not there yet: this stage cannot be run, and has no key."""
        return self.extras.get("awaits")

    @property
    def before(self) -> list[Node]:
        """All that must be made first."""
        return [*self.parents.values(), *self.after]

    @cached_property
    def key_inputs(self) -> dict[str, Any]:
        """Everything that decides the content, apart from the parents."""
        settings = {name: key_settings(block) for name, block in self.blocks.items()}
        # A block of which nothing enters the key leaves the key as it was before there was such a block.
        blocks = {name: block for name, block in settings.items() if block != {}}
        for block, name in PATHS:
            blocks.get(block, {}).pop(name, None)
        if not blocks.get("reward_model", {}).get("noise", "per_rater").startswith("per_rater"):
            for name in OF_LEARNED_NOISE:
                blocks["reward_model"].pop(name)
        if self.stage == "reward_model":
            for name in OF_THE_ENSEMBLE:
                blocks["reward_model"].pop(name)
            # A member knows only whether it has others: then it is bootstrapped.
            blocks["reward_model"]["members"] = min(blocks["reward_model"]["members"], 2)
        return {"version": STAGES[self.stage].version, **blocks, **self.labels, **self.extras}

    @cached_property
    def key(self) -> str | None:
        """None while the base model's content is not known, or people have not judged."""
        parents = {name: parent.key for name, parent in self.parents.items()}
        if None in parents.values() or None in self.extras.values():
            return None
        return stage_key({"stage": self.stage, "inputs": self.key_inputs, "parents": parents})

    def label(self, with_arms: bool) -> str:
        """Name within the run: ppo-weak-seed0."""
        parts = [self.stage, *(self.arms if with_arms else [])]
        for name, value in self.labels.items():
            if self.stage != "check":
                parts.append(value if name == "tier" else f"{name}{value}" if name != "round" else "")
        parts += [] if self.turn is None else [f"round{self.turn}"]
        return "-".join(filter(None, parts))

    def folder(self, store: Store) -> Path | None:
        """Where the artifact lies or will lie."""
        return store.folder(self.stage, self.key) if self.key else None

    def state(self, store: Store) -> State | None:
        """done, resume or new; None while the key is unknown."""
        return store.state(self.stage, self.key) if self.key else None


@dataclass(slots=True)
class Graph:
    """All nodes, parents before children."""

    nodes: list[Node] = field(default_factory=list)

    def add(self, node: Node, arm: str | None) -> Node:
        """Add a node, or find the one with the same content: arms share what they have in common."""
        inputs = node.key_inputs
        for known in self.nodes:
            if known.stage == node.stage and known.parents == node.parents and known.key_inputs == inputs:
                node = known
                break
        else:
            self.nodes.append(node)
        if arm and arm not in node.arms:
            node.arms.append(arm)
        return node

    def name_nodes(self) -> None:
        """Give each node its slug; arms are named where a stage is not the same for all of them."""
        plain = Counter(node.label(with_arms=False) for node in self.nodes)
        for node in self.nodes:
            apart = node.stage in ("reward_model", "ppo") or plain[node.label(with_arms=False)] > 1
            node.slug = node.label(with_arms=apart)

    def of(self, stage: str) -> list[Node]:
        """Nodes of one stage."""
        return [node for node in self.nodes if node.stage == stage]

    def batches(self) -> Iterator[list[Node]]:
        """Nodes that can run side by side, in order: ready nodes of one stage, parents first."""
        waiting = list(self.nodes)
        finished: set[int] = set()
        while waiting:
            ready = [node for node in waiting if all(id(one) in finished for one in node.before)]
            stage = min(ready, key=lambda node: list(STAGES).index(node.stage)).stage
            batch = [node for node in ready if node.stage == stage]
            yield batch
            finished.update(id(node) for node in batch)
            waiting = [node for node in waiting if id(node) not in finished]


def _node(stage: str, config: Config, parents: dict[str, Node], base: str | None, data: str, **labels: Any) -> Node:
    blocks = {name: getattr(config, name) for name in STAGES[stage].blocks}
    extras: dict[str, Any] = {"data": data} if "task" in blocks else {}
    if "model" in blocks and "sft" not in parents and stage != "check":
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
            self.trunk["sft"] = self.node("sft", {})
        for self.turn in range(config.labels.rounds):
            self.judge()
            self.train_members()
            if config.ppo is not None:
                # Every round starts from SFT again, so that KL is to SFT in all of them.
                self.policy = {"ppo": self.node("ppo", {**self.trunk, **self.members})}
        if config.ppo is None:
            return self.members
        # Without gold, the check asks the reward models.
        return {**self.policy, **(self.members if config.task.name == "judgements" else self.trunk)}

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


def build_graph(config: Config, cheap: bool = False) -> Graph:
    """The graph of a resolved config. `cheap`: never hash more than 100 MB, leave such keys unknown."""
    graph = Graph()
    base = identity(config.model.path, config.model.revision, cheap=cheap)
    data = fingerprint(config.task, config.data)
    checked: dict[str, Node] = {}
    arms = {arm: arm_config(config, arm) for arm in config.arms}
    for seed in config.seeds:
        if config.sft is not None:
            checked[f"sft/seed{seed}"] = graph.add(_node("sft", config, {}, base, data, seed=seed), None)
        for arm, settings in arms.items():
            nodes = _Arm(graph, settings, arm, seed, base, data, cheap).build()
            for name, node in nodes.items():
                checked[f"{name}/{arm}/seed{seed}"] = node
    labels: dict[str, Any] = {"arms": list(config.arms), "seeds": list(config.seeds)}
    if config.task.name == "judgements" or config.ppo is None:
        blocks = {arm: settings.reward_model for arm, settings in arms.items()}
        labels["ensembles"] = {arm: [getattr(block, name) for name in OF_THE_ENSEMBLE] for arm, block in blocks.items()}
    check = _node("check", config, checked, base, data, **labels)
    check.extras["knowledge"] = table_fingerprint()
    graph.add(check, None)
    graph.name_nodes()
    return graph
