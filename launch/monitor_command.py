"""`sandwich monitor RUN`: monitors of a run's PPO snapshots, live, from a process that training knows nothing of.

sandwich monitor planted --follow
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sandwiching.configs.load import load
from sandwiching.configs.schema import Config, MonitorConfig
from sandwiching.launch.arguments import AsJson
from sandwiching.launch.nodes import Graph, Node
from sandwiching.launch.status import PLAN_FILE
from sandwiching.training.artifacts import Store

if TYPE_CHECKING:
    from sandwiching.oversight.monitors.live import Watched

FOLDER = "monitor"
"""Within the run's folder: the only place that is written to."""


def monitor_command(
    run: Annotated[str, typer.Argument(help="A run's folder or name.")],
    follow: Annotated[
        bool, typer.Option("--follow", help="Wait for snapshots until every PPO run is finished.")
    ] = False,
    canary: Annotated[
        bool, typer.Option("--canary", help="Also a monitor that says 1e30, nan and inf: training must not notice.")
    ] = False,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads, beside those of the training.")] = 1,
    gpu: Annotated[bool, typer.Option("--gpu", help="Read models on a GPU, beside the training.")] = False,
    as_json: AsJson = False,
) -> None:
    """Watch the PPO snapshots of a run, running or finished: one line a monitor that raises an alarm, all of them in
    RUN/monitor/alarms.jsonl. What it watches is read only."""
    from sandwiching.launch.environment import set_library_environment
    from sandwiching.launch.graph import build_graph

    folder = Path(run) if Path(run).is_dir() else Path("runs") / run
    for name in ("config.yaml", PLAN_FILE):
        if not (folder / name).exists():
            raise ValueError(f"{folder} has no {name}: give the folder of a run that has begun, or its name")
    config = load(str(folder / "config.yaml"))
    if config.ppo is None:
        raise ValueError(f"{folder}: the run has no PPO, and so no snapshots to watch")
    set_library_environment(1 if gpu else 0)
    root = store_of(folder)
    out = (folder / FOLDER).resolve()
    out.mkdir(exist_ok=True)
    follow_run(config, build_graph(config), root, out, follow, canary, threads, as_json)


def store_of(folder: Path) -> Path:
    """Where the run's artifacts lie, by its plan."""
    stages = json.loads((folder / PLAN_FILE).read_text())["stages"]
    return next(Path(stage["folder"]).parent for stage in stages if stage["folder"] is not None)


def follow_run(
    config: Config, graph: Graph, root: Path, out: Path, follow: bool, canary: bool, threads: int, as_json: bool
) -> None:
    """Watch; writing below `root` is an error from here on."""
    from sandwiching.oversight.items import checked_prompts
    from sandwiching.oversight.monitors.job import Settings
    from sandwiching.oversight.monitors.live import Asked, watch
    from sandwiching.oversight.monitors.read_only import forbid_writing
    from sandwiching.policy.base_models import resolve
    from sandwiching.policy.tokenization import load_tokenizer
    from sandwiching.tasks.registry import make_task
    from sandwiching.training.devices import use_threads

    forbid_writing([root])
    use_threads(threads)
    monitor, check, model = config.monitor or MonitorConfig(), config.check, config.model
    tokenizer = load_tokenizer(resolve(model.path, model.revision), model.pad_token)
    _, dev = checked_prompts(make_task(config.task, config.data, config.seeds[0]), model, config.data, check, tokenizer)
    asked = Asked(dev, check.samples, check.sampling, monitor.false_alarms, canary)
    settings = Settings(replace(model, path=""), monitor.fit_texts, config.resources.rollout_batch, threads)
    watch(watched_runs(graph, Store(root), config), settings, asked, out, follow, lambda one: _say(one, as_json))


def watched_runs(graph: Graph, store: Store, config: Config) -> list[Watched]:
    """Every PPO run of the graph."""
    from sandwiching.oversight.monitors.live import Watched

    found = []
    for node in graph.of("ppo"):
        beside = [one for one in graph.of("ppo") if (one.labels, one.turn) == (node.labels, node.turn)]
        run, needs = _policy_run(node, [node, *beside], store, config)
        found.append(Watched(run, _folder(node, store), needs))
    return found


def _policy_run(node: Node, beside: Sequence[Node], store: Store, config: Config) -> tuple[Any, tuple[Path, ...]]:
    from sandwiching.oversight.monitors.job import PolicyRun
    from sandwiching.oversight.outcomes import policy_name
    from sandwiching.policy.base_models import resolve

    members, judged = _members(node), [_judgements(one) for one in beside]
    places = {one.labels["tier"]: str(_folder(one, store)) for one in reversed(judged)}
    sft = node.parents.get("sft")
    start = resolve(config.model.path, config.model.revision) if sft is None else _folder(sft, store) / "model"
    learned = members[0].blocks["reward_model"]
    name = policy_name(node.arms[0], node.labels["seed"]) + ("" if node.turn is None else f"/round{node.turn}")
    run = PolicyRun(
        name=name,
        start=str(start),
        members=tuple(str(_folder(member, store) / "model") for member in members),
        own=str(_folder(_judgements(node), store)),
        weak=places.get("weak"),
        expert=places.get("expert"),
        dev_share=learned.dev_share,
        seed=node.labels["seed"],
        combine=node.blocks["reward_model"].combine,
        uwo_lambda=node.blocks["reward_model"].uwo_lambda,
    )
    needs = [*members, *judged, *([] if sft is None else [sft])]
    return run, tuple(_folder(one, store) for one in needs)


def _members(node: Node) -> list[Node]:
    return [parent for name, parent in node.parents.items() if name.startswith("reward_model/")]


def _judgements(node: Node) -> Node:
    return _members(node)[0].parents["judgements"]


def _folder(node: Node, store: Store) -> Path:
    place = node.folder(store)
    if place is None:
        raise ValueError(
            f"{node.slug} has no key yet: people's judgements are awaited; watch the run once they are there"
        )
    return place


def _say(record: dict[str, Any], as_json: bool) -> None:
    """One line: all records as JSON, or the alarms and what is odd in words."""
    from sandwiching.oversight.summary import jsonable

    if as_json:
        typer.echo(json.dumps(jsonable(record)))
    elif record["alarm"] or record["notes"]:
        level = "" if record["now"] is None else f" {record['start']:.2f} at SFT, {record['now']:.2f} now"
        said = f" ({'; '.join(record['notes'])})" if record["notes"] else ""
        alarm = "ALARM " if record["alarm"] else ""
        typer.echo(f"{record['run']} after {record['updates']} updates: {alarm}{record['monitor']}{level}{said}")
