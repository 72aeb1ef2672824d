"""`sandwich sweep`: a hyperparameter search over any setting, on stages that trials share.

sandwich plan tiny_sweep
sandwich sweep tiny_sweep sweep.parallel=2
"""

from __future__ import annotations

import json
from pathlib import Path

import typer

from sandwiching.configs.load import load
from sandwiching.launch.arguments import AsJson, ConfigPath, Overrides, RunDir, StorePath


def sweep_command(
    config: ConfigPath,
    overrides: Overrides = None,
    run_dir: RunDir = None,
    store: StorePath = Path("runs/store"),
    as_json: AsJson = False,
) -> None:
    """Search over the settings of the config's `sweep` block; the same command goes on where it was stopped."""
    from sandwiching.launch.attempts import Attempt
    from sandwiching.launch.sweep.outcome import read_outcome
    from sandwiching.training.artifacts import Store

    settings = load(config, overrides or ())
    if settings.sweep is None:
        raise ValueError(f"{config}: has no sweep block; add one, as in the shipped config tiny_sweep")
    folder = run_dir or Path("runs") / settings.name
    with Attempt(folder) as attempt:
        from sandwiching.launch.sweep.session import run_sweep

        run_sweep(settings, Store(store), folder, attempt)
    if as_json:
        typer.echo(json.dumps(read_outcome(folder), indent=1))
