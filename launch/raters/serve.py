"""`sandwich raters serve` and what belongs to the page for people: links, the export, how each rater stands.

sandwich raters invite capitals ann ben
sandwich raters serve capitals --labels-per-pair 3
sandwich raters export capitals judgements.jsonl
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.console import Console
from rich.table import Table

from sandwiching.launch.arguments import AsJson

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from sandwiching.tasks.records import Tier

Run = Annotated[str, typer.Argument(help="A run's folder or name, or a JSONL file of pairs.")]
Database = Annotated[
    str | None,
    typer.Option(
        help="A SQLite file or postgresql://user@host/name. [default: in the run's folder]", show_default=False
    ),
]
Pairs = Annotated[
    str | None, typer.Option(help="Which pairs, where the run has several: an artifact's name, as choice-seed0-round1.")
]
page_app = typer.Typer()
"""Its commands become those of `sandwich raters`."""

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@page_app.command("serve")
def serve_command(
    run: Run,
    database: Database = None,
    pairs: Pairs = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8420,
    labels_per_pair: Annotated[int, typer.Option(help="Weak raters a pair.")] = 3,
    budget: Annotated[
        int | None, typer.Option(help="Labels of weak raters in all; gold questions and skips are not counted.")
    ] = None,
    expert_labels_per_pair: Annotated[int, typer.Option(help="Experts a pair.")] = 1,
    expert_budget: Annotated[int | None, typer.Option(help="Labels of experts in all.")] = None,
    per_rater: Annotated[int | None, typer.Option(help="Labels a rater, gold questions among them.")] = None,
    priority: Annotated[Path | None, typer.Option(help='JSONL of {"pair", "priority"}: the highest first.')] = None,
    gold_rate: Annotated[float, typer.Option(help="Share of gold questions among what a rater gets.")] = 0.0,
    gold: Annotated[Path | None, typer.Option(help="JSONL of pairs with an answer. [default: the task's gold]")] = None,
    gold_questions: Annotated[int, typer.Option(help="How many pairs of the run become gold questions.")] = 20,
    hold: Annotated[float, typer.Option(help="Minutes until a pair that was not judged goes to others.")] = 30.0,
) -> None:
    """Serve the page for people over a run's pairs, until stopped. Raters come by the links of `raters invite`."""
    from sandwiching.launch.page.collect import add_pairs, count_pairs, serve_only, set_priorities
    from sandwiching.launch.page.records import Terms
    from sandwiching.launch.page.server import serve
    from sandwiching.launch.page.sources import gold_questions as divided
    from sandwiching.launch.page.sources import read_priorities, read_source

    terms = Terms(
        labels_per_pair=labels_per_pair,
        budget=budget,
        expert_labels_per_pair=expert_labels_per_pair,
        expert_budget=expert_budget,
        per_rater=per_rater,
        gold_rate=gold_rate,
        hold=hold * 60,
    )
    source = read_source(run, pairs)
    rows, known = (source.rows, []) if gold_rate == 0 else divided(source, gold, gold_questions)
    engine = _engine(run, database)
    add_pairs(engine, known, gold=True)
    add_pairs(engine, rows, gold=False)
    serve_only(engine, {row.pair.id for row in rows})
    set_priorities(engine, {} if priority is None else read_priorities(priority))
    say = partial(Console(stderr=True).print, highlight=False, soft_wrap=True)
    ordinary, questions = count_pairs(engine)
    say(f"{ordinary} pairs, {questions} gold questions; database: {engine.url!r}")
    if host not in LOOPBACK:
        say(f"{host} is no loopback address: links are secrets, so put a proxy with TLS before it", style="yellow")
    serve(engine, terms, host, port, lambda address: say(f"serving on {address}; end it with Ctrl-C"))


@page_app.command("invite")
def invite_command(
    run: Run,
    names: Annotated[list[str], typer.Argument(help="Who is to judge: a name each, which the export hashes.")],
    tier: Annotated[str, typer.Option(help="weak, or expert: who sees sources and right answers.")] = "weak",
    url: Annotated[str, typer.Option(help="Where raters reach the page.")] = "http://127.0.0.1:8420",
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Make each rater's own secret link; shown once. A second link for a name ends the first, the answers stay."""
    from sandwiching.launch.page.collect import invite

    engine = _engine(run, database)
    links = {name: f"{url.rstrip('/')}/r/{invite(engine, name, tier)}/" for name in names}
    if as_json:
        typer.echo(json.dumps(links, indent=1))
    else:
        for name, link in links.items():
            typer.echo(f"{name}\t{link}")


@page_app.command("export")
def export_command(
    run: Run,
    to: Annotated[Path, typer.Argument(help="The JSONL file to write; gzip when it ends in .gz.")],
    database: Database = None,
    pairs: Pairs = None,
    tier: Annotated[str | None, typer.Option(help="Only of weak raters, or of expert ones.")] = None,
    gold: Annotated[bool, typer.Option("--gold", help="The answers to gold questions instead.")] = False,
) -> None:
    """Write the judgements as a file that `data.judgements`, and `judgements.people` with --pairs and --tier, take."""
    from sandwiching.launch.page.export import export_judgements
    from sandwiching.launch.page.sources import pair_ids
    from sandwiching.tasks.records import TIERS

    if tier is not None and tier not in TIERS:
        raise ValueError(f"--tier: must be weak or expert, is {tier!r}")
    ids = None if pairs is None else pair_ids(run, pairs)
    count = export_judgements(_existing(run, database), to, gold=gold, tier=cast("Tier | None", tier), pair_ids=ids)
    typer.echo(f"{count} judgements in {to}", err=True)


@page_app.command("progress")
def progress_command(run: Run, database: Database = None, as_json: AsJson = False) -> None:
    """Show each rater's count, speed, and accuracy on gold questions."""
    from sandwiching.launch.page.export import standings

    rows = standings(_existing(run, database))
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=1))
        return
    table = Table("rater", "tier", "judged", "ties", "skipped", "undone", "seconds", "gold questions right")
    for row in rows:
        right = "-"
        if row.gold_accuracy is not None and row.gold_interval is not None:
            low, high = row.gold_interval
            right = f"{row.gold_right} of {row.gold_answered}: {row.gold_accuracy:.2f} [{low:.2f}, {high:.2f}]"
        counts = (row.judged, row.ties, row.skipped, row.undone, "-" if row.seconds is None else row.seconds)
        table.add_row(row.name, row.tier, *map(str, counts), right)
    Console().print(table)


def _engine(run: str, database: str | None) -> Engine:
    """The database, made where there is none yet."""
    from sandwiching.launch.page.sources import default_database
    from sandwiching.launch.page.tables import connect, create

    engine = connect(database or default_database(run))
    create(engine)
    return engine


def _existing(run: str, database: str | None) -> Engine:
    """The database. Raises ValueError where a file would have to be made: nothing was collected there."""
    from sandwiching.launch.page.sources import default_database

    where = database or default_database(run)
    if "://" not in where and not Path(where).is_file():
        raise ValueError(
            f"{where} does not exist: nothing was collected there; serve the page first, or give --database"
        )
    return _engine(run, database)
