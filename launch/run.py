"""Runs a graph: claims each artifact that is missing, runs its stage where there is room, links it into the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, Protocol

from sandwiching.configs.load import to_yaml
from sandwiching.configs.schema import Config
from sandwiching.launch.looks import ledger_note
from sandwiching.launch.nodes import Graph, Node
from sandwiching.launch.stages import STAGES
from sandwiching.launch.stopping import StopSignals
from sandwiching.launch.waiting import wait_for_people
from sandwiching.training.artifacts import StageFolder, Store, write_atomic
from sandwiching.training.stage import StageCall

Say = Callable[[str], None]


class Runner(AbstractContextManager, Protocol):
    """Where stages run, inside its context: this process, or a Ray cluster."""

    def run_on_ranks(self, calls: Sequence[StageCall]) -> None:
        """Stages whose function runs on every learner rank."""
        ...

    def run_with_roles(self, calls: Sequence[StageCall]) -> None:
        """Stages whose function runs once and drives roles."""
        ...


class Watcher(Protocol):
    """Shows progress of the folders at work."""

    def watch(self, folders: dict[str, Path]) -> None:
        """These stages are at work now, by name."""
        ...

    def done(self, name: str, skipped: bool) -> None:
        """A stage's artifact is complete."""
        ...

    def say(self, text: str) -> None:
        """A line for the user."""
        ...


def stage_call(node: Node, store: Store, folder: StageFolder, notes: Mapping[str, Any]) -> StageCall:
    """The node as plain data for a worker. notes: what its manifest is to remember."""
    spec = STAGES[node.stage]
    assert node.key is not None
    return StageCall(
        stage=node.stage,
        version=spec.version,
        key=node.key,
        function=spec.function,
        arguments={**node.blocks, **node.labels},
        key_inputs=node.key_inputs,
        parent_keys={name: str(parent.key) for name, parent in node.parents.items()},
        parents={name: path for name, parent in node.parents.items() if (path := parent.folder(store))},
        folder=folder,
        notes={"arms": node.arms, **notes},
    )


def link(node: Node, store: Store, run_dir: Path) -> None:
    """runs/<name>/artifacts/<slug> -> the artifact's folder."""
    target = node.folder(store)
    assert target is not None
    place = run_dir / "artifacts" / node.slug
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{place.name}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target.resolve())
    temporary.replace(place)


def wanted_nodes(graph: Graph, only: str | None) -> list[Node]:
    """All nodes, or those of stage `only` with their ancestors. Raises ValueError when the run has no such stage."""
    if only is None:
        return graph.nodes
    if not graph.of(only):
        has = ", ".join(dict.fromkeys(node.stage for node in graph.nodes))
        raise ValueError(f"--only {only}: this run has no such stage; it has {has}")
    return with_ancestors(graph.of(only))


def with_ancestors(nodes: Sequence[Node]) -> list[Node]:
    """Nodes and all that they need, parents before children."""
    wanted: list[Node] = []

    def add(node: Node) -> None:
        if node not in wanted:
            for one in node.before:
                add(one)
            wanted.append(node)

    for node in nodes:
        add(node)
    return wanted


def run(
    config: Config,
    graph: Graph,
    store: Store,
    run_dir: Path,
    runner: Runner,
    watcher: Watcher,
    signals: StopSignals,
    only: str | None = None,
) -> None:
    """Make every wanted artifact that is missing; finished ones are skipped, unfinished ones resumed.

    Raises WaitingForPeople where judgements of people are missing.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    write_atomic(run_dir / "config.yaml", to_yaml(config))
    wanted = wanted_nodes(graph, only)
    with ExitStack() as started:
        active = False
        for batch in graph.batches():
            batch = [node for node in batch if node in wanted]
            waiting = [node for node in batch if node.awaits is not None]
            batch = [node for node in batch if node not in waiting]
            missing = [node for node in batch if node.state(store) != "done"]
            if missing and not active:
                started.enter_context(runner)
                signals.install()
                active = True
            if missing:
                run_batch(missing, store, run_dir, runner, watcher, signals, ledger_note(config, store))
            for node in batch:
                link(node, store, run_dir)
                watcher.done(node.slug, skipped=node not in missing)
            wait_for_people(waiting, store, run_dir)


def run_batch(
    nodes: Sequence[Node],
    store: Store,
    run_dir: Path,
    runner: Runner,
    watcher: Watcher,
    signals: StopSignals,
    notes: Mapping[str, Any],
) -> None:
    """Run nodes of one stage, holding the lock of each. What another process made meanwhile is skipped."""
    with ExitStack() as claims:
        calls = {}
        for node in sorted(nodes, key=lambda node: str(node.key)):
            folder = claims.enter_context(store.claim(node.stage, str(node.key), watcher.say, signals.may_wait))
            if node.state(store) != "done":
                calls[node.slug] = stage_call(node, store, folder, notes)
            link(node, store, run_dir)
        watcher.watch({slug: call.folder.path for slug, call in calls.items()})
        ordered = [calls[node.slug] for node in nodes if node.slug in calls]
        run = runner.run_on_ranks if STAGES[nodes[0].stage].home == "ranks" else runner.run_with_roles
        with signals.working([call.folder for call in ordered]):
            run(ordered)
