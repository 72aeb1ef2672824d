"""Arguments that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigPath = Annotated[str, typer.Argument(help="A YAML file, or the name of a shipped config (capitals, tiny, ...).")]
Overrides = Annotated[list[str] | None, typer.Argument(help="Settings as key=value, e.g. ppo.steps=20.")]
RunDir = Annotated[Path | None, typer.Option(help="The run's folder. [default: runs/<name>]", show_default=False)]
StorePath = Annotated[Path, typer.Option(help="Folder of artifacts, shared by runs.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
