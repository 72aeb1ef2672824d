"""A plan as text for the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from sandwiching.configs.load import to_yaml
from sandwiching.configs.schema import Config
from sandwiching.launch.plan import Plan

COLOURS = {"skip": "dim", "resume": "yellow", "run": "green", "unknown": "magenta"}


def size(bytes_: int) -> str:
    """Bytes in a unit that reads well (powers of 1000)."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if bytes_ >= scale:
            return f"{bytes_ / scale:.3g} {unit}"
    return f"{bytes_} B"


def show(plan: Plan, config: Config, sbatch: str | None, console: Console) -> None:
    """Print every part of a plan. sbatch: the text that would be submitted to SLURM."""
    _heading(console, "Config")
    console.print(Text(to_yaml(config).rstrip()), soft_wrap=True)
    _heading(console, "Stages")
    console.print(_stages(plan))
    _heading(console, "Batches")
    _lines(console, plan.batch_algebra)
    if plan.labels is not None:
        _heading(console, "Labels")
        _lines(console, plan.labels.lines())
    if plan.looks is not None:
        _heading(console, "Looks at the experts")
        _lines(console, plan.looks.lines())
    _heading(console, "Placement")
    _lines(console, plan.placement)
    _heading(console, "Memory and disk (estimates)")
    _lines(console, _resources(plan, config))
    if plan.sweep is not None:
        _heading(console, "Sweep")
        _lines(console, plan.sweep.lines())
    if sbatch is not None:
        _heading(console, "sbatch")
        console.print(Text(sbatch.rstrip()), soft_wrap=True)
    console.print(f"\n{summary(plan)}")


def summary(plan: Plan) -> str:
    """How many stages would be skipped, resumed and run."""
    words = {"skip": "to skip", "resume": "to resume", "run": "to run", "unknown": "unknown"}
    counts = {action: sum(stage.action == action for stage in plan.stages) for action in words}
    listed = ", ".join(f"{counts[action]} {word}" for action, word in words.items() if counts[action])
    return f"{len(plan.stages)} stages: {listed}"


def _heading(console: Console, text: str) -> None:
    console.print(f"\n[bold]{text}[/]")


def _lines(console: Console, lines: list[str]) -> None:
    for line in lines:
        console.print(f"  {escape(line)}", highlight=False, soft_wrap=True)


def _stages(plan: Plan) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 2))
    for column in ("stage", "action", "key"):
        table.add_column(column, no_wrap=True)
    table.add_column("why", overflow="fold")
    for stage in plan.stages:
        colour = COLOURS[stage.action]
        table.add_row(stage.name, Text(stage.action, colour), stage.key or "-", Text(stage.reason))
    return table


def _resources(plan: Plan, config: Config) -> list[str]:
    lines = []
    if plan.memory is None or plan.parameters is None:
        lines.append(f"no estimate: the architecture of {config.model.path} is not known here until it is fetched")
    else:
        lines.append(f"{config.model.path}: {plan.parameters / 1e6:.1f} M parameters")
        where = "a GPU" if config.resources.gpus else "memory"
        for name, stage in plan.memory.items():
            roles = "; ".join(
                f"{role.processes} x {role.role} "
                + " + ".join(f"{size(amount)} {part}" for part, amount in role.parts.items() if amount)
                + (f" + {size(role.host)} on the host" if role.host else "")
                for role in stage.roles
            )
            lines.append(f"{name}: {size(stage.device_bytes)} of {where} ({roles})")
        most = max(stage.device_bytes for stage in plan.memory.values())
        if not config.resources.gpus and most > plan.machine_memory_bytes:
            lines.append(
                f"more than the {size(plan.machine_memory_bytes)} of this machine: lower resources.micro_batch"
            )
    if plan.new_disk_bytes is not None:
        lines.append(f"disk: at most {size(plan.new_disk_bytes)} to be written, {size(plan.free_disk_bytes)} free")
        sizes = {stage.stage: stage.disk.checkpoint for stage in plan.stages if stage.disk and stage.disk.checkpoint}
        lines.append("a checkpoint: " + ", ".join(f"{size(amount)} {stage}" for stage, amount in sizes.items()))
    if plan.checkpoint_costs:
        costs = [f"{size(amount)} in {took:.2g} s ({name})" for name, amount, took in plan.checkpoint_costs.values()]
        lines.append(f"the last ones written took: {', '.join(costs)}")
    return lines
