"""The report on raters for a terminal: the verdict first, then the numbers behind it, models, and raters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sandwiching.oversight.intervals import Interval
from sandwiching.oversight.rater_report import SHOWN_MODEL, RaterReport, rater_rows
from sandwiching.reward_model.reliability.repeated import Copied

COLOURS = {"YES": "green", "NO": "red", "DUPLICATES": "red"}
SHOWN = 8
"""Raters at either end, unless all are asked for."""
NONE = "-"


def show(report: RaterReport, every: bool, console: Console) -> None:
    """Print it."""
    gate = report.gate
    console.print(Text(f"{gate.verdict}", style=f"bold {COLOURS[gate.verdict]}"), Text(gate.sentence))
    console.print(signal_table(report))
    console.print(models_table(report))
    if report.checks is not None:
        console.print(quartiles_table(report))
    else:
        console.print(Text("No pair was judged by both tiers: nothing here was checked against experts.\n"))
    console.print(raters_table(report, every))
    total = sum(report.seconds.values())
    parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in report.seconds.items())
    console.print(Text(f"{len(report.table.votes)} votes in {total:.1f} s of one core ({parts})", style="dim"))


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for place, name in enumerate(columns):
        table.add_column(name, justify="left" if place == 0 else "right")
    return table


def _add(table: Table, cells: Sequence[str], style: str = "") -> None:
    """Cells as they are: a bracket in a rater's id or in limits is no markup."""
    table.add_row(*(Text(cell) for cell in cells), style=style)


def signal_table(report: RaterReport) -> Table:
    """What the verdict rests on, and how far raters overlap."""
    votes, gate, shared = report.table.votes, report.gate, report.overlap
    table = _table("Signal, without experts", ("", ""))
    _add(table, [f"{report.tier} votes, of them ties", f"{len(votes)}, {(votes.sign_E == 0).mean():.1%}"])
    if report.table.repeated:
        _add(table, ["left out: same rater, same pair", str(report.table.repeated)])
    _add(table, ["raters, as many equally busy ones", f"{votes.raters}, {shared.effective_raters:.0f}"])
    _add(table, ["pairs judged by two or more", str(shared.shared_pairs)])
    _add(table, ["parts of the panel without common pairs", str(shared.components)])
    if gate.split_half is not None:
        half = gate.split_half
        said = f"{half.agreement:.3f} [{half.low:.3f}, {half.high:.3f}], {half.groups} groups"
        _add(table, ["split-half agreement, ties half", said])
        decided = NONE if half.decided is None else f"{half.decided:.3f}"
        _add(table, ["split-half agreement where both decide", decided])
    _add(table, ["Krippendorff's alpha (interval)", NONE if gate.alpha is None else f"{gate.alpha:.3f}"])
    p = NONE if gate.permutation_p is None else f"{gate.permutation_p:.3g} of {report.permutations} shuffles"
    _add(table, ["permutation p, labels shuffled within rater", p])
    for copied, what in ((gate.copied_pairs, "pairs"), (gate.copied_items, "responses")):
        if copied is not None:
            _add(table, [f"{what} rated identically by all", _copied(copied)])
    return table


def _copied(copied: Copied) -> str:
    return (
        f"{copied.identical:.1%} of {copied.units}, expected {copied.expected:.1%}; "
        f"copied {copied.share:.1%} (likelihood ratio {copied.likelihood_ratio:.0f})"
    )


def models_table(report: RaterReport) -> Table:
    """A row a model: the raters as it sees them and, with experts, what its labels are worth."""
    columns = ["model", "skill mean", "spread", "trusted", "adversaries"]
    if report.checks is not None:
        some = next(iter(report.checks.values())).agreement
        columns += ["agrees with experts", "over the majority", "same, where experts decide"]
        title = f"Reliability models against experts: {some.items} pairs in {some.groups} groups, ties half"
    else:
        title = "Reliability models"
    table = _table(title, columns)
    for name, model in report.models.items():
        trusted = f"{int(model.trusted_K.sum())} of {len(model.skill_K)}"
        cells = [name, f"{model.mean:.3f}", f"{model.spread:.3f}", trusted, str(int(model.adversary_K.sum()))]
        if report.checks is not None:
            check = report.checks[name]
            first = name == next(iter(report.models))
            cells += [_level(check.agreement), NONE if first else _signed(check.gain)]
            cells.append(NONE if first else _signed(check.gain_decided))
        _add(table, cells)
    return table


def quartiles_table(report: RaterReport) -> Table:
    """Raters by skill learned without experts, and what experts say of their votes."""
    assert report.checks is not None
    columns = ("model", "quartile", "raters", "skill", "votes", "right, ties half", "right, ties left out")
    table = _table("Do skills learned without experts order the raters?", columns)
    for name, check in report.checks.items():
        for place, one in enumerate(check.quartiles, start=1):
            right = NONE if one.accuracy is None else _level(one.accuracy)
            decided = NONE if one.decided is None else f"{one.decided:.3f}"
            skill = f"{one.skill_low:.2f} to {one.skill_high:.2f}"
            label = name if place == 1 else ""
            _add(table, [label, str(place), str(one.raters), skill, str(one.votes), right, decided])
    return table


def raters_table(report: RaterReport, every: bool) -> Table:
    """A row a rater; the untrusted dim, adversaries red."""
    rows = rater_rows(report)
    columns = ("rater", "votes", "shared pairs", "partners", "effective votes", f"skill ({SHOWN_MODEL})", "")
    shown = rows if every or len(rows) <= 2 * SHOWN else [*rows[:SHOWN], *rows[-SHOWN:]]
    cut = "" if len(shown) == len(rows) else f": best and worst {SHOWN} of {len(rows)}, --all for all"
    table = _table(f"Raters{cut}", columns)
    for row in shown:
        _add(table, _rater(row), style="red" if row["adversary"] else "" if row["trusted"] else "dim")
    return table


def _rater(row: dict[str, Any]) -> list[str]:
    skill = f"{row['skill']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
    remark = "adversary" if row["adversary"] else "" if row["trusted"] else "too little overlap"
    return [
        row["rater"],
        str(row["votes"]),
        str(row["shared_pairs"]),
        str(row["partners"]),
        f"{row['effective_votes']:.0f}",
        skill,
        remark,
    ]


def _level(interval: Interval) -> str:
    return f"{interval.estimate:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _signed(interval: Interval) -> str:
    return f"{interval.estimate:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"
