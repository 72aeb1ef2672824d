"""`sandwich submit`: a run as a job of a cluster's scheduler.

sandwich submit slurm capitals resources.gpus=8 resources.nodes=2 resources.cpus=32 slurm.partition=gpu
sandwich submit slurm tiny_sweep --sweep --array 8
"""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sandwiching.configs.load import load, to_yaml
from sandwiching.configs.schema import Config
from sandwiching.launch.arguments import AsJson, ConfigPath, Overrides, RunDir, StorePath

submit_app = typer.Typer(no_args_is_help=True, help="Submit a run to a cluster.")


@submit_app.callback()
def submit() -> None:
    """Keeps `slurm` a word of its own while it is the only scheduler."""


@submit_app.command("slurm")
def slurm_command(
    config: ConfigPath,
    overrides: Overrides = None,
    run_dir: RunDir = None,
    store: StorePath = Path("runs/store"),
    as_json: AsJson = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the sbatch text and submit nothing.")] = False,
    sweep: Annotated[bool, typer.Option("--sweep", help="Run the config's sweep, all in one job.")] = False,
    array: Annotated[
        int | None, typer.Option("--array", min=1, metavar="N", help="With --sweep: N jobs that share its trials.")
    ] = None,
) -> None:
    """Submit a run to SLURM. It is queued again, and resumes, when its time runs out or it is preempted."""
    from sandwiching.launch.slurm import refuse_second, submit
    from sandwiching.launch.slurm_fit import check_fits, partitions_here
    from sandwiching.training.artifacts import write_atomic

    if array is not None and not sweep:
        raise ValueError("--array: only the trials of a sweep can be shared out; add --sweep")
    settings = load(config, overrides or ())
    settings, job_settings = for_sweep(settings, array) if sweep else (settings, settings)
    folder = run_dir or Path("runs") / settings.name
    base = next_submission(folder.absolute())
    text = script(job_settings, folder.absolute(), store.absolute(), base, "sweep" if sweep else "run", array)
    if dry_run:
        typer.echo(text, nl=False)
        return
    refuse_second(folder)
    check_fits(job_settings, partitions_here())
    base.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(base.with_suffix(".yaml"), to_yaml(settings))
    write_atomic(base.with_suffix(".sbatch"), text)
    log = base.with_suffix(".log") if array is None else base.with_name(f"{base.name}-0.log")
    job = submit(base.with_suffix(".sbatch"), folder, log)
    if as_json:
        typer.echo(json.dumps({"job": job.id, "script": job.script, "log": job.log}))
        return
    typer.echo(f"submitted job {job.id}, as in {job.script}")
    status = f"sandwich status {shlex.quote(str(folder))}"
    typer.echo(f"output: tail -F {shlex.quote(job.log)}")
    typer.echo(f"state:  {status}          cancel: {status} --cancel")


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


def script(
    config: Config, run_dir: Path, store: Path, base: Path, command: str = "run", tasks: int | None = None
) -> str:
    """The sbatch text. The job runs the resolved config of now, whatever becomes of the YAML while it waits."""
    from sandwiching.launch.slurm_script import Places, render

    words = [command, f"{base}.yaml", "--run-dir", str(run_dir), "--store", str(store)]
    # Not resolved: a virtual environment's python is a link.
    places = Places(Path.cwd(), base, Path(sys.executable).parent, (run_dir, store), tasks)
    return render(config, words, places)
