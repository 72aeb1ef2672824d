"""`sandwich submit`: a run as a job of a cluster's scheduler.

sandwich submit slurm capitals resources.gpus=8 resources.nodes=2 resources.cpus=32 slurm.partition=gpu
sandwich submit ray capitals --address http://127.0.0.1:8265
sandwich submit slurm tiny_sweep --sweep --array 8
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from sandwiching.configs.load import load, to_yaml
from sandwiching.configs.schema import Config, SlurmConfig
from sandwiching.launch.arguments import AsJson, ConfigPath, Only, Overrides, RunDir, StorePath, WithRay

submit_app = typer.Typer(no_args_is_help=True, help="Submit a run to a cluster.")


@submit_app.command("slurm")
def slurm_command(
    config: ConfigPath,
    overrides: Overrides = None,
    run_dir: RunDir = None,
    store: StorePath = Path("runs/store"),
    as_json: AsJson = False,
    ray: WithRay = True,
    only: Only = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the sbatch text and submit nothing.")] = False,
    sweep: Annotated[bool, typer.Option("--sweep", help="Run the config's sweep, all in one job.")] = False,
    array: Annotated[
        int | None, typer.Option("--array", min=1, metavar="N", help="With --sweep: N jobs that share its trials.")
    ] = None,
) -> None:
    """Submit a run to SLURM. It is queued again, and resumes, when its time runs out or it is preempted."""
    from sandwiching.launch.slurm import submit
    from sandwiching.launch.slurm_fit import check_fits, partitions_here
    from sandwiching.launch.submissions import refuse_second
    from sandwiching.training.artifacts import write_atomic

    settings = load(config, overrides or ())
    if array is not None and not sweep:
        raise ValueError("--array: only the trials of a sweep can be shared out; add --sweep")
    if sweep and (only is not None or not ray):
        raise ValueError("--sweep: trials run on Ray, and run what the objective needs; leave --only and --no-ray out")
    if not ray and settings.resources.nodes > 1:
        raise ValueError(f"--no-ray: is one process on one node; resources.nodes is {settings.resources.nodes}")
    settings, job_settings = for_sweep(settings, array) if sweep else (settings, settings)
    folder = run_dir or Path("runs") / settings.name
    base = next_submission(folder.absolute())
    words = ["sweep"] if sweep else run_words(only, ray)
    text = script(job_settings, folder.absolute(), store.absolute(), base, words, array)
    if dry_run:
        typer.echo(text, nl=False)
        return
    refuse_second(folder)
    check_fits(job_settings, partitions_here(settings.slurm.extra))
    base.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(base.with_suffix(".yaml"), to_yaml(for_container(settings)))
    write_atomic(base.with_suffix(".sbatch"), text)
    log = base.with_suffix(".log") if array is None else base.with_name(f"{base.name}-0.log")
    job = submit(base.with_suffix(".sbatch"), folder, log, settings.slurm.signal_seconds)
    if as_json:
        typer.echo(json.dumps({"job": job.id, "script": job.script, "log": job.log}))
        return
    typer.echo(f"submitted job {job}, as in {job.script}")
    typer.echo(f"output: tail -F {shlex.quote(job.log)}")
    typer.echo(state_line(folder))


Address = Annotated[
    str | None,
    typer.Option(help="The cluster's dashboard, as in http://HOST:8265. [default: RAY_ADDRESS]", show_default=False),
]
Follow = Annotated[bool, typer.Option("--follow/--no-follow", help="Show the job's output until it ends.")]


@submit_app.command("ray")
def ray_command(
    config: ConfigPath,
    overrides: Overrides = None,
    address: Address = None,
    run_dir: RunDir = None,
    store: StorePath = Path("runs/store"),
    as_json: AsJson = False,
    only: Only = None,
    follow: Follow = True,
) -> None:
    """Submit a run to a Ray cluster, and follow it. Ctrl-C leaves the job alone; the same command resumes a run."""
    from sandwiching.launch import ray_jobs
    from sandwiching.launch.paths import with_absolute_paths
    from sandwiching.launch.submissions import refuse_second

    settings = with_absolute_paths(load(config, overrides or ()))
    folder = (run_dir or Path("runs") / settings.name).resolve()
    refuse_second(folder)
    job = ray_jobs.submit(settings, to_yaml(settings), folder, store.resolve(), address, run_words(only))
    shown: dict[str, object] = {"job": job.id, "address": job.address, "config": job.config}
    say = partial(typer.echo, err=as_json)
    say(f"submitted Ray job {job.id} to {job.address}, as in {job.config}")
    say(f"output: ray job logs {job.id} --address {job.address} --follow")
    say(state_line(folder))
    code = 0
    if follow:
        try:
            state = ray_jobs.follow(job, partial(say, nl=False))
        except KeyboardInterrupt:
            say(f"no longer followed; job {job.id} goes on")
        else:
            say(str(state))
            code = ray_jobs.exit_code(state)
            shown |= {"state": state.state, "exit_code": code}
    if as_json:
        typer.echo(json.dumps(shown))
    raise typer.Exit(code)


def run_words(only: str | None = None, ray: bool = True) -> list[str]:
    """`run` with its options."""
    return ["run", *([] if only is None else ["--only", only]), *([] if ray else ["--no-ray"])]


def state_line(run_dir: Path) -> str:
    """How to see a submitted run's state, and how to end it."""
    status = f"sandwich status {shlex.quote(str(run_dir))}"
    return f"state:  {status}          cancel: {status} --cancel"


def next_submission(run_dir: Path) -> Path:
    """runs/<name>/slurm/N without a suffix, for the next N."""
    numbers = [int(file.stem) for file in (run_dir / "slurm").glob("*.sbatch")]
    return run_dir / "slurm" / str(max(numbers, default=0) + 1)


def for_sweep(config: Config, array: int | None) -> tuple[Config, Config]:
    """The config that the driver of a sweep runs, and the one whose `resources` are asked for.

    Raises ValueError without a sweep.
    """
    from sandwiching.launch.sweep.room import all_at_once

    if config.sweep is None:
        raise ValueError("--sweep: the config has no sweep block")
    if array is not None:
        config = replace(config, sweep=replace(config.sweep, parallel=1))
    return config, replace(config, resources=all_at_once(config))


def for_container(config: Config) -> Config:
    """With the paths that are mounted, where there is a container: links and ~ may say something else there."""
    from sandwiching.launch.paths import with_absolute_paths

    return config if config.slurm.container.image is None else with_absolute_paths(config)


def planned_script(config: Config, run_dir: Path, store: Path) -> str | None:
    """What `submit slurm` would submit, of a config that says something of SLURM."""
    if config.slurm == SlurmConfig():
        return None
    return script(config, run_dir.absolute(), store.absolute(), next_submission(run_dir.absolute()), run_words())


def script(
    config: Config, run_dir: Path, store: Path, base: Path, words: Sequence[str], tasks: int | None = None
) -> str:
    """The sbatch text. The job runs the resolved config of now, whatever becomes of the YAML while it waits."""
    from sandwiching.launch.paths import model_caches, outside_paths, with_absolute_paths
    from sandwiching.launch.slurm_script import Places, render

    words = [*words, f"{base}.yaml", "--run-dir", str(run_dir), "--store", str(store)]
    folders: list[Path] = [run_dir, store]
    caches: dict[str, Path] = {}
    if config.slurm.container.image is not None:
        folders += outside_paths(with_absolute_paths(config))
        caches = model_caches()
    # Not resolved: a virtual environment's python is a link.
    places = Places(Path.cwd(), base, Path(sys.executable).parent, folders, caches, tasks)
    return render(config, words, places)
