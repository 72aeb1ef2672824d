"""`sandwich report RUN ...`: one page of finished runs, or of all trials of a sweep, from their artifacts alone.

sandwich report planted
sandwich report runs/one runs/two --out compared.html
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sandwiching.launch.arguments import AsJson
from sandwiching.oversight.report.files import HTML_FILE

if TYPE_CHECKING:
    from sandwiching.oversight.report.gather import Sources

Runs = Annotated[list[str], typer.Argument(help="Folders or names of runs, or of a sweep.", metavar="RUN...")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="The page. [default: report.html in the run's folder; of several runs, in this one]",
        show_default=False,
    ),
]


@dataclass(slots=True)
class Found:
    """Runs that have a check, and what is said of trials that have none."""

    folders: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def report_command(runs: Runs, out: Out = None, as_json: AsJson = False) -> None:
    """Write report.html, which needs nothing but itself, and report.json beside it; --json prints the latter."""
    from sandwiching.oversight.report.build import reported
    from sandwiching.oversight.report.gather import gather
    from sandwiching.training.artifacts import write_atomic

    found = find_runs(runs)
    record, page = reported([gather(sources(folder)) for folder in found.folders], found.notes)
    place = out or (run_folder(runs[0]) / HTML_FILE if len(runs) == 1 else Path(HTML_FILE))
    if place.suffix == ".json":
        raise ValueError(f"report: --out={place} is where the page goes, and report.json lies beside it: name it .html")
    text = json.dumps(record, indent=1)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(place, page)
    write_atomic(place.with_suffix(".json"), text)
    if as_json:
        typer.echo(text)
    typer.echo(f"report: {place}", err=as_json)


def run_folder(name: str) -> Path:
    """Of a run or sweep given by folder or by name. Raises ValueError where there is none."""
    for folder in (Path(name), Path("runs") / name):
        if folder.is_dir():
            return folder
    raise ValueError(f"report: no run {name}: neither {name}/ nor runs/{name}/ is a folder")


def find_runs(names: Sequence[str]) -> Found:
    """The runs, and of sweeps the trials that have a check. Raises ValueError where a sweep has none."""
    found = Found()
    for name in names:
        folder = run_folder(name)
        trials = sorted((folder / "trials").glob("*/trial.json"), key=lambda file: int(file.parent.name))
        if not trials:
            found.folders.append(folder)
            continue
        done = [file.parent for file in trials if (file.parent / "artifacts" / "check" / "manifest.json").exists()]
        if not done:
            raise ValueError(
                f"report: no trial of {folder} has a finished check: a sweep trains no further than its metric needs. "
                f"`sandwich run {folder / 'best.yaml'}` checks the best one; `sandwich status {folder}` says how far "
                "the sweep is"
            )
        found.folders += done
        left = [file.parent.name for file in trials if file.parent not in done]
        if left:
            found.notes.append(f"{folder}: {len(left)} trials have no finished check: {', '.join(left)}")
    return found


def name_of(folder: Path) -> str:
    """sweep, trial 3; or the run's own."""
    folder = folder.resolve()
    if folder.parent.name == "trials":
        return f"{folder.parent.parent.name}, trial {folder.name}"
    return folder.name


def sources(folder: Path) -> Sources:
    """What a run's report is made of. Raises ValueError for what is no run, and for a run without a finished check."""
    from sandwiching.configs.load import load
    from sandwiching.oversight.expert_store import place_of
    from sandwiching.oversight.report.gather import Sources, finished, monitors_of

    file = folder / "config.yaml"
    if not file.exists():
        raise ValueError(f"report: {folder} is no run: it has no config.yaml")
    check, monitor = (folder / "artifacts" / name for name in ("check", "monitor"))
    if not finished(check):
        raise ValueError(
            f"report: {folder} has no finished check, and nothing is shown without one; `sandwich run {file}` goes on "
            f"to it, and `sandwich status {folder}` says how far it is"
        )
    settings, checked = load(str(file)).check, check.resolve()
    return Sources(
        run=name_of(folder),
        check=checked,
        monitor=monitors_of(monitor, check),
        store=place_of(settings.store, checked.parent),
        caveat=settings.caveat,
        config=file.read_text(),
    )
