"""`sandwich report RUN ...`: one page of finished runs, or of all trials of a sweep, from their artifacts alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from sandwiching.launch.arguments import AsJson
from sandwiching.oversight.report.files import HTML_FILE

Runs = Annotated[list[str], typer.Argument(help="Folders or names of runs, or of a sweep.", metavar="RUN...")]
Out = Annotated[Path | None, typer.Option("--out", help="Where the page goes; default: the (first) run's folder.")]


def report_command(runs: Runs, out: Out = None, as_json: AsJson = False) -> None:
    """Write report.html, which needs nothing but itself, and report.json beside it; --json prints the latter."""
    from sandwiching.oversight.report.build import reported
    from sandwiching.oversight.report.gather import gather
    from sandwiching.training.artifacts import write_atomic

    folders = [one for name in runs for one in run_folders(name)]
    found = [gather(name_of(folder), *checked(folder)) for folder in folders]
    records, page = reported(found)
    place = out or run_folder(runs[0]) / HTML_FILE
    text = json.dumps(records[0] if len(records) == 1 else records, indent=1)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(place, page)
    write_atomic(place.with_suffix(".json"), text)
    typer.echo(text if as_json else f"report: {place}")


def run_folder(name: str) -> Path:
    """Of a run or sweep given by folder or by name. Raises ValueError where there is none."""
    for folder in (Path(name), Path("runs") / name):
        if folder.is_dir():
            return folder
    raise ValueError(f"report: no run {name}: neither {name}/ nor runs/{name}/ is a folder")


def run_folders(name: str) -> Iterator[Path]:
    """The run itself, or each trial of a sweep that has a check."""
    folder = run_folder(name)
    trials = sorted((folder / "trials").glob("*/artifacts"), key=lambda place: int(place.parent.name))
    if not trials:
        yield folder
        return
    done = [place.parent for place in trials if (place / "check").exists()]
    if not done:
        raise ValueError(f"report: no trial of {folder} has a check yet; see `sandwich status {name}`")
    yield from done


def name_of(folder: Path) -> str:
    """sweep, trial 3; or the run's own."""
    if folder.parent.name == "trials":
        return f"{folder.parent.parent.name}, trial {folder.name}"
    return folder.resolve().name


def checked(folder: Path) -> tuple[Path, Path | None]:
    """The artifacts of check and monitor (None where there is none). Raises ValueError for a run without a check."""
    from sandwiching.training.artifacts import MANIFEST

    found = {name: folder / "artifacts" / name for name in ("check", "monitor")}
    if not (folder / "config.yaml").exists():
        raise ValueError(f"report: {folder} is no run: it has no config.yaml")
    if not (found["check"] / MANIFEST).exists():
        raise ValueError(
            f"report: {folder} has no finished check; `sandwich run {folder / 'config.yaml'}` goes on to it, and "
            f"`sandwich status {folder}` says how far it is"
        )
    monitor = found["monitor"].resolve() if (found["monitor"] / MANIFEST).exists() else None
    return found["check"].resolve(), monitor
