"""What `sandwich run` does once its config is known to be right: the only part of the CLI that imports torch."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from sandwiching.configs.load import arm_config
from sandwiching.configs.schema import Config
from sandwiching.launch.attempts import Attempt
from sandwiching.launch.environment import set_library_environment
from sandwiching.launch.graph import build_graph, rater_models
from sandwiching.launch.looks import prepare_checks
from sandwiching.launch.nodes import Graph, Node
from sandwiching.launch.paths import with_absolute_paths
from sandwiching.launch.plan import make_plan
from sandwiching.launch.run import Runner, run, wanted_nodes
from sandwiching.launch.status import PLAN_FILE
from sandwiching.launch.stopping import StopSignals
from sandwiching.launch.tracking import TrackerProcess
from sandwiching.oversight.declaration import FILE, declared_in
from sandwiching.oversight.report.files import HTML_FILE
from sandwiching.policy.base_models import identity, resolve
from sandwiching.training.artifacts import Store, write_atomic
from sandwiching.training.gate import SENTENCE


def run_session(config: Config, store: Store, run_dir: Path, *, ray: bool, only: str | None, attempt: Attempt) -> None:
    """Fetch the base model if needed, write the plan, run the stages.

    Raises ValueError before any model is loaded: for what this machine lacks (DoesNotFit), or input no stage can use.
    """
    # Before anything imports DeepSpeed, which looks for its accelerator then.
    set_library_environment(config.resources.gpus)
    from sandwiching.launch.preflight import refuse_bad_input
    from sandwiching.launch.progress import ProgressView

    console = attempt.console
    signals = StopSignals(lambda text: console.print(text, highlight=False))
    signals.install()
    config, store, run_dir = with_absolute_paths(config), Store(store.root.resolve()), run_dir.resolve()
    runner = make_runner(config, store, ray, attempt.abandon)
    if not ray and max(config.resources.learner_ranks, config.resources.rollout_engines) > 1:
        console.print("--no-ray: one learner rank and one rollout engine, in this process", highlight=False)
    graph = prepared_graph(config, console)
    wanted = wanted_nodes(graph, only)
    missing = [node for node in wanted if node.state(store) != "done"]
    refuse_bad_input(missing, run_dir, config.resources)
    prepare_checks(config, wanted, store)
    write_atomic(run_dir / PLAN_FILE, json.dumps(make_plan(config, graph, store, run_dir).as_json(), indent=1))
    tracker = TrackerProcess(run_dir, config.tracking.project, config.tracking.to)
    with tracker, ProgressView(console) as view:
        run(config, graph, store, run_dir, runner, view, signals, only)
    for node in graph.of("gate"):
        show_gate(node, store, console)
    for node in graph.of("check"):
        folder = node.folder(store)
        if folder is not None and (folder / "check.txt").exists():
            console.print((folder / "check.txt").read_text(), markup=False, highlight=False, soft_wrap=True)
            show_changed(folder, config, console)
    for node in graph.of("monitor"):
        folder = node.folder(store)
        if folder is not None and (folder / "monitor.txt").exists():
            console.print((folder / "monitor.txt").read_text(), markup=False, highlight=False, soft_wrap=True)
    for node in graph.of("report"):
        if node.state(store) == "done":
            place = run_dir / "artifacts" / node.slug / HTML_FILE
            console.print(f"report: {place}", highlight=False, soft_wrap=True)
    if config.resources.profile:
        show_profiles(missing, store, console)
    console.print(f"artifacts: {run_dir / 'artifacts'}", highlight=False, soft_wrap=True)


def show_changed(check: Path, config: Config, console: Console) -> None:
    """That the conditions are not those any more that the finished check went by, if so."""
    changed = declared_in(check).changed(config.conditions) if (check / FILE).exists() else {}
    if changed:
        said = ", ".join(f"conditions.{name} {old} -> {new}" for name, (old, new) in changed.items())
        text = f"declared after the run began, and not what conditions.json went by unless it says so: {said}"
        console.print(text, style="red", markup=False, highlight=False, soft_wrap=True)


def show_gate(node: Node, store: Store, console: Console) -> None:
    """What the gate said of the judgements; in red unless it was YES."""
    folder = node.folder(store)
    if folder is not None and (folder / SENTENCE).exists():
        said = (folder / SENTENCE).read_text().strip()
        style = None if said.startswith("YES") else "red"
        console.print(f"{node.slug}: {said}", style=style, markup=False, highlight=False, soft_wrap=True)


def show_profiles(trained: Sequence[Node], store: Store, console: Console) -> None:
    """The tables of the PPO stages that this session trained."""
    for node in trained:
        folder = node.folder(store) if node.stage == "ppo" else None
        if folder is not None and (folder / "profile.txt").exists():
            console.print(f"{node.slug}: {folder / 'profile.json'}", highlight=False, soft_wrap=True)
            console.print((folder / "profile.txt").read_text(), markup=False, highlight=False, soft_wrap=True)


def prepared_graph(config: Config, console: Console) -> Graph:
    """The graph with every key known; fetches first the models whose content is not known."""
    models = {(config.model.path, config.model.revision)}
    for arm in config.arms:
        models |= {(path, revision) for _, path, revision in rater_models(arm_config(config, arm).judgements)}
    for path, revision in sorted(models, key=str):
        if identity(path, revision) is None:
            console.print(f"fetching {path}", highlight=False)
            resolve(path, revision)
    return build_graph(config)


def make_runner(config: Config, store: Store, ray: bool, abandon: Callable[[BaseException], None]) -> Runner:
    """This process, or Ray. Raises DoesNotFit when this machine alone must do and cannot."""
    from sandwiching.launch.cluster import check_local_devices

    if not ray or "RAY_ADDRESS" not in os.environ:
        check_local_devices(config.resources)
    if ray:
        from sandwiching.launch.ray_runner import RayRunner

        return RayRunner(config.resources, store.root / "ray", abandon)
    from sandwiching.launch.local import LocalRunner

    return LocalRunner(config.resources)
