"""`sandwich raters report`: what a file of judgements says of its raters, without training anything.

sandwich raters report judgements.jsonl.gz
sandwich raters report multipref.jsonl --format multipref --json
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sandwiching.launch.arguments import AsJson

PIPED_WIDTH = 140
"""Columns where the output is no terminal."""


def report_command(
    file: Annotated[Path, typer.Argument(help="JSONL of judgements (gzip allowed), or a saved dataset's folder.")],
    as_json: AsJson = False,
    schema: Annotated[str, typer.Option("--format", help="As data.format.")] = "judgements",
    tier: Annotated[str | None, typer.Option(help="Tier of rows that have none: weak or expert.")] = None,
    rater: Annotated[str | None, typer.Option(help="Rater of rows that have none.")] = None,
    every: Annotated[bool, typer.Option("--all", help="A row for every rater, not for the extremes only.")] = False,
    permutations: Annotated[int, typer.Option(min=19, help="Shuffles behind the permutation p.")] = 199,
    max_p: Annotated[float, typer.Option(min=0.0001, max=0.5, help="Largest permutation p that is a YES.")] = 0.01,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.9999, help="Level of intervals by group.")] = 0.95,
    seed: Annotated[int, typer.Option(min=0, help="Fixes shuffles and splits.")] = 0,
) -> None:
    """Do these judgements carry a signal, and which raters do? YES, NO or DUPLICATES, and a row a rater."""
    from sandwiching.configs.ranges import CHOICES
    from sandwiching.launch.raters.report_view import show
    from sandwiching.oversight.rater_report import as_json as plain
    from sandwiching.oversight.rater_report import report_on
    from sandwiching.tasks.readers import read_judgements

    if tier is not None and tier not in CHOICES["DataConfig.tier"]:
        raise ValueError(f"--tier: {tier!r} is unknown; use one of {', '.join(CHOICES['DataConfig.tier'])}")
    started = time.process_time()
    rows = [row.judgement for row in read_judgements(file, schema, tier=tier, rater=rater)]
    read = time.process_time() - started
    report = report_on(rows, permutations=permutations, max_p=max_p, seed=seed, confidence=confidence)
    report.seconds["reading"] = read
    if as_json:
        typer.echo(json.dumps(plain(report), indent=1))
    else:
        show(report, every, Console() if sys.stdout.isatty() else Console(width=PIPED_WIDTH))
