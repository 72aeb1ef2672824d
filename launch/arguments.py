"""Arguments that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def known_stage(name: str | None) -> str | None:
    """The name of a stage as it was given. Raises ValueError for another."""
    from sandwiching.launch.stages import STAGES

    if name is not None and name not in STAGES:
        raise ValueError(f"--only: {name!r} is no stage; use one of {', '.join(STAGES)}")
    return name


ConfigPath = Annotated[str, typer.Argument(help="A YAML file, or the name of a shipped config (capitals, tiny, ...).")]
Overrides = Annotated[list[str] | None, typer.Argument(help="Settings as key=value, e.g. ppo.steps=20.")]
RunDir = Annotated[Path | None, typer.Option(help="The run's folder. [default: runs/<name>]", show_default=False)]
StorePath = Annotated[Path, typer.Option(help="Folder of artifacts, shared by runs.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Only = Annotated[
    str | None, typer.Option("--only", metavar="STAGE", callback=known_stage, help="Only this stage and what it needs.")
]
WithRay = Annotated[bool, typer.Option("--ray/--no-ray", help="On Ray, or all in this process.")]
