"""One artifact that a run needs, its key, and all of them in the order in which they are made. Torch-free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sandwiching.configs.keyed import key_settings
from sandwiching.launch.stages import STAGES
from sandwiching.training.artifacts import State, Store, stage_key

PATHS = (("model", "path"), ("model", "revision"), ("data", "judgements"))
"""Where content comes from: its hash is in the key instead."""

OF_THE_ENSEMBLE = ("combine", "uwo_lambda")
"""What the reward_model block says about all members together: no member depends on it."""

OF_ALL_ARMS = ("check", "monitor", "report")
"""Stages that a run has once: their names need no labels."""

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
        judging = STAGES[self.stage].asks_raters
        settings = {name: key_settings(block, judging) for name, block in self.blocks.items()}
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
        return {"version": STAGES[self.stage].version, **blocks, **key_settings(self.labels), **self.extras}

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
            if self.stage not in OF_ALL_ARMS:
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
