"""The command `sandwich`. Nothing here imports torch: `--help` and `plan` answer at once, on a login node too.

sandwich plan capitals ppo.steps=20
sandwich run capitals
sandwich status capitals
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sandwiching.configs.load import load
from sandwiching.launch.arguments import AsJson, ConfigPath, Only, Overrides, RunDir, StorePath, WithRay
from sandwiching.launch.elicit import elicit_command
from sandwiching.launch.failures import ExitCode
from sandwiching.launch.ledger_command import ledger_command
from sandwiching.launch.monitor_command import monitor_command
from sandwiching.launch.phase import phase_command
from sandwiching.launch.raters.commands import raters_app
from sandwiching.launch.report_command import report_command
from sandwiching.launch.submit_commands import planned_script, submit_app
from sandwiching.launch.sweep.command import sweep_command
from sandwiching.training.artifacts import Store

PIPED_WIDTH = 140
"""Columns where the output is no terminal."""

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="RLHF from weak raters, checked by experts: SFT, reward model and PPO as one resumable pipeline.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong input, 3 stopped by a gate, 75 stopped by a signal: run me again.",
)

app.add_typer(submit_app, name="submit")
app.add_typer(raters_app, name="raters")
app.command("sweep")(sweep_command)
app.command("ledger")(ledger_command)
app.command("report")(report_command)
app.command("elicit")(elicit_command)
app.command("phase")(phase_command)
app.command("monitor")(monitor_command)


@app.command("plan")
def plan_command(
    config: ConfigPath,
    overrides: Overrides = None,
    run_dir: RunDir = None,
    store: StorePath = Path("runs/store"),
    as_json: AsJson = False,
) -> None:
    """Show what a run would do, without loading a model: stages, batches, placement, memory and disk."""
    from sandwiching.launch.graph import build_graph
    from sandwiching.launch.plan import make_plan
    from sandwiching.launch.plan_view import show

    settings = load(config, overrides or ())
    graph, folder = build_graph(settings, cheap=True), run_dir or Path("runs") / settings.name
    plan = make_plan(settings, graph, Store(store), folder)
    sbatch = planned_script(settings, folder, store)
    if as_json:
        typer.echo(json.dumps({**plan.as_json(), "sbatch": sbatch}, indent=1))
    else:
        show(plan, settings, sbatch, _console())


@app.command("run")
def run_command(
    config: ConfigPath,
    overrides: Overrides = None,
    run_dir: RunDir = None,
    store: StorePath = Path("runs/store"),
    as_json: AsJson = False,
    ray: WithRay = True,
    only: Only = None,
    profile: Annotated[bool, typer.Option("--profile", help="Trace one PPO step of each arm and seed.")] = False,
) -> None:
    """Run every stage that is missing; finished ones are skipped, unfinished ones resumed."""
    from sandwiching.launch.attempts import Attempt
    from sandwiching.launch.status import read_status

    settings = load(config, [*(overrides or ()), *(["resources.profile=true"] if profile else [])])
    folder = run_dir or Path("runs") / settings.name
    with Attempt(folder) as attempt:
        from sandwiching.launch.session import run_session

        run_session(settings, Store(store), folder, ray=ray, only=only, attempt=attempt)
    if as_json:
        typer.echo(json.dumps(read_status(folder).as_json(), indent=1))


@app.command("status")
def status_command(
    run: Annotated[str, typer.Argument(help="A run's folder or name, or its config.")],
    as_json: AsJson = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="End the run's SLURM or Ray job, which saves.")] = False,
    again: Annotated[bool, typer.Option("--watch", help="Again every two seconds, until nothing works on it.")] = False,
) -> None:
    """Show how far a run is, from its files: stages, speed, last metrics, last error. And its job's state."""
    from sandwiching.launch.status import read_status, show, watch
    from sandwiching.launch.submissions import cancel as cancel_jobs

    folder = find_run(run)
    if cancel:
        say = partial(typer.echo, err=True)
        say(f"cancelled {', '.join(cancel_jobs(folder, say))}")
    if as_json:
        typer.echo(json.dumps(read_status(folder).as_json(), indent=1))
    elif again:
        watch(folder, _console())
    else:
        show(read_status(folder), _console())


def find_run(run: str) -> Path:
    """The folder of a run given by folder, by name, or by config."""
    for folder in (Path(run), Path("runs") / run):
        if folder.is_dir():
            return folder
    return Path("runs") / load(run).name


def _console() -> Console:
    return Console() if sys.stdout.isatty() else Console(width=PIPED_WIDTH)


def main() -> None:
    """Entry point. Wrong input ends with one message and exit code 2."""
    try:
        typer.main.get_command(app)()
    except (ValueError, OSError) as error:
        Console(stderr=True).print(f"{error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(ExitCode.WRONG_INPUT)
