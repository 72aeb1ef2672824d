"""The check as tables: for the terminal (rich) and as plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import StringIO

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from sandwiching.oversight.intervals import Interval
from sandwiching.oversight.summary import Row, Summary, level, ratio, signed

NONE = "-"
CORRECT = ("forced", "free")


def new_table(title: str, columns: Sequence[str]) -> Table:
    """A table without rows."""
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for name in columns:
        table.add_column(name)
    return table


def add_row(table: Table, cells: Sequence[str], end_section: bool = False) -> None:
    """Add cells as they are: a bracket in a name or in limits is no markup."""
    table.add_row(*(Text(cell) for cell in cells), end_section=end_section)


def _levels(intervals: Mapping[str, Interval], measures: Sequence[str]) -> list[str]:
    """Estimates with their limits below, so that a row fits a terminal of 100 columns."""
    return [level(intervals[name], "\n") if name in intervals else NONE for name in measures]


def _differences(intervals: Mapping[str, Interval], measures: Sequence[str]) -> list[str]:
    return [signed(intervals[name], "\n") if name in intervals else NONE for name in measures]


def label(row: Row) -> str:
    """The row's name, with its part in the sandwich where the name does not say it."""
    if row.role == "raters":
        return "rater line"
    return f"{row.name} (ceiling)" if row.role == "ceiling" and row.name != "ceiling" else row.name


def main_table(rows: Sequence[Row]) -> Table:
    """A row for the rater line, the floor and each arm; correctness and approval as level, gains as arm - floor."""
    columns = ("", "forced correct", "free correct", "approval", "gain forced", "gain free", "PGR forced")
    table = new_table("Held-out prompts", columns)
    for row in rows:
        found = row.recovered.get("forced")
        levels, gains = _levels(row.levels, (*CORRECT, "approval")), _differences(row.gains, CORRECT)
        add_row(table, [label(row), *levels, *gains, ratio(found.ratio, "\n") if found else NONE])
    return table


def raters_table(rows: Sequence[Row]) -> Table:
    """Every policy against the rater line, and each PGR beside its numerator and denominator."""
    table = new_table(
        "Above the raters? PGR = (arm - raters) / (ceiling - raters)",
        ("", "measure", "policy - raters", "ceiling - raters", "PGR"),
    )
    for row in rows[1:]:
        for measure, above in row.above.items():
            found = row.recovered.get(measure)
            made_of = (signed(found.denominator), ratio(found.ratio)) if found else (NONE, NONE)
            add_row(table, [label(row), measure, signed(above), *made_of])
    return table


def distance_table(rows: Sequence[Row]) -> Table:
    """How far each policy is from the one that its PPO began with."""
    table = new_table("Distance from SFT on held-out prompts, KL exact at each token", ("", "nats a sequence"))
    for row in rows:
        if "kl" in row.levels:
            add_row(table, [label(row), level(row.levels["kl"])])
    return table


def between_table(first: str, between: Mapping[str, Mapping[str, Interval]]) -> Table:
    """Arms against the first one."""
    columns = ("", "forced correct", "free correct", "approval")
    table = new_table(f"Arms minus {first}, paired by prompt and training seed", columns)
    for name, differences in between.items():
        add_row(table, [name, *(signed(differences[measure]) for measure in (*CORRECT, "approval"))])
    return table


def split_table(title: str, parts: Mapping[str, Sequence[Row]]) -> Table:
    """A block of rows for each cell of the knowledge table, or each kind of prompt."""
    table = new_table(title, ("", "", "forced correct", "free correct", "gain forced", "gain free"))
    for part, rows in parts.items():
        size = rows[0].levels["forced"]
        for row in rows:
            name = f"{part}\n{size.items} prompts, {size.groups} groups" if row is rows[0] else ""
            cells = [name, label(row), *_levels(row.levels, CORRECT), *_differences(row.gains, CORRECT)]
            add_row(table, cells, end_section=row is rows[-1])
    return table


def render(summary: Summary, headline: str) -> list[RenderableType]:
    """Headline first, then the tables."""
    size = summary.rows[0].levels["forced"]
    parts: list[RenderableType] = [
        Text(headline),
        Text(f"{size.items} prompts in {size.groups} groups; each interval {summary.covers}.\n", style="dim"),
        main_table(summary.rows),
        raters_table(summary.rows),
        distance_table(summary.rows),
        *([between_table(_first_arm(summary.rows), summary.between)] if summary.between else []),
        split_table("By cell of the knowledge table", summary.cells),
    ]
    if len(summary.kinds) > 1:
        parts.append(split_table("By kind of prompt", summary.kinds))
    return parts


def _first_arm(rows: Sequence[Row]) -> str:
    return next(row.name for row in rows if row.role in ("arm", "ceiling"))


def accuracy_table(accuracy: Mapping[str, Interval], over: Mapping[str, Mapping[str, Interval]], covers: str) -> Group:
    """Reward models and baselines: agreement with experts, and each arm over each baseline on the same pairs."""
    baselines = list(dict.fromkeys(name for differences in over.values() for name in differences))
    columns = ("", "agreement", "pairs", *(f"over {name}" for name in baselines))
    table = new_table("Agreement with experts on held-out pairs", columns)
    for name, interval in accuracy.items():
        differences = _differences(over[name], baselines) if name in over else [NONE] * len(baselines)
        size = f"{interval.items}\n{interval.groups} groups"
        add_row(table, [name, level(interval, "\n"), size, *differences])
    return Group(table, Text(f"Each interval {covers}.", style="dim"))


def plain_text(content: RenderableType, width: int = 110) -> str:
    """A table without colour, for files and logs."""
    stream = StringIO()
    Console(file=stream, width=width, color_system=None, force_terminal=False).print(content)
    return stream.getvalue()
