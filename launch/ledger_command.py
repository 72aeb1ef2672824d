"""`sandwich ledger [STORE]`: who looked at a project's experts, whether the ledger is whole, how many looks are left.

sandwich ledger
sandwich ledger runs/experts --json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sandwiching.launch.arguments import AsJson

PIPED_WIDTH = 140
"""Columns where the output is no terminal."""


def ledger_command(
    folder: Annotated[Path, typer.Argument(metavar="STORE", help="The expert store (check.store).")] = Path(
        "runs/experts"
    ),
    artifacts: Annotated[
        Path | None, typer.Option(help="Artifacts that remember its head. [default: `store` beside it]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the looks at what is held out, and verify their ledger: exit code 1 where it is not whole."""
    report = ledger_report(folder, artifacts or folder.parent / "store")
    if as_json:
        typer.echo(json.dumps(report, indent=1))
    else:
        _show(report, Console() if sys.stdout.isatty() else Console(width=PIPED_WIDTH))
    if not report["whole"]:
        raise typer.Exit(1)


def ledger_report(folder: Path, artifacts: Path) -> dict[str, Any]:
    """Everything about a store's ledger, as JSON. Raises ValueError when there is no store."""
    from sandwiching.oversight.expert_store import open_store, remembered
    from sandwiching.oversight.ledger import cut_short

    store = open_store(folder)
    problems = store.ledger.problems()
    entries = [] if problems else store.ledger.entries()
    if not problems:
        problems = cut_short(entries, store.ledger.first, remembered(artifacts, store.id))
    head = entries[-1]["hash"] if entries else store.ledger.first
    return {
        "store": str(folder),
        "id": store.id,
        "made": store.made,
        "salt": store.salt,
        "budget": store.budget,
        "used": len(entries),
        "left": store.left(entries),
        "whole": not problems,
        "problems": problems,
        "length": len(entries),
        "head": head,
        "looks": entries,
    }


def _show(report: dict[str, Any], console: Console) -> None:
    table = Table(box=SIMPLE_HEAD)
    for name in ("look", "when", "run", "what", "split", "for", "candidates"):
        table.add_column(name)
    for one in report["looks"]:
        over = one["number"] > one["budget"]
        cells = (str(one["number"]), one["time"], one["run"], one["name"], one["split"], one["purpose"])
        table.add_row(*map(Text, cells), str(one["candidates"]), style="red" if over else "")
    if report["looks"]:
        console.print(table)
    used, budget = report["used"], report["budget"]
    console.print(
        f"{report['store']} ({report['id']}): {used} looks of {budget}, {report['left']} left", highlight=False
    )
    for problem in report["problems"]:
        console.print(Text(f"NOT WHOLE: {problem}", "red"), soft_wrap=True)
    if report["whole"]:
        console.print(f"the ledger is whole: {report['length']} lines, head {report['head'][:16]}", highlight=False)
