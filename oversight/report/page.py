"""The page: sections made of tables, figures and texts, and one self-contained HTML file of them.

Everything that is not ours (model text, rater text, names) is escaped by the template; figures alone are markup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from sandwiching.oversight.report.figures import inline_svg
from sandwiching.oversight.report.gather import Gathered
from sandwiching.oversight.report.record import UNCHECKED, interval
from sandwiching.oversight.summary import level, signed

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a run. tables: as in shown.py; figure: an <svg> element."""

    name: str
    title: str
    about: str
    texts: Sequence[str] = ()
    figure: Markup | None = None
    tables: Sequence[Mapping[str, Any]] = ()
    samples: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class RunPage:
    """One run on the page: what comes first, and its sections."""

    run: str
    anchor: str
    invalid: bool
    headline: Sequence[str]
    sections: Sequence[Section] = field(default_factory=tuple)


ABOUT = {
    "sandwich": (
        "The sandwich",
        "Rater line below, ceiling above, policies between, on held-out prompts. Gain is progress over the floor (the "
        "SFT policy); PGR = (arm - rater line) / (ceiling - rater line) asks whether the policy is above its raters.",
    ),
    "recovery": (
        "Labels, reward models",
        "The share of the gap between rater line and ceiling that each stage recovers, with numerator and denominator. "
        "Negatives are not clipped; undefined: the data do not tell the ceiling from the raters (Fieller).",
    ),
    "fooling": (
        "Fooling",
        "The change of P(weak raters approve | wrong) from the floor, on prompts where both policies are wrong. The "
        "null arm is the same training on raters of equal accuracy without the bias, at matched KL.",
    ),
    "curves": ("Along training", "By PPO updates, on dev prompts where gold is asked."),
    "optimisation": (
        "Over-optimisation",
        "Gain over the floor against sqrt(KL) to it, along PPO and for best-of-n, with the forms of Gao et al. "
        "(arXiv 2210.10760). A peak beyond what was seen is not reached.",
    ),
    "monitors": (
        "Monitors",
        "What reads checkpoints in a process of its own. One that is not told to be better than length has no signal.",
    ),
}
"""Topics of the check's and the monitors' tables: title, and what it is."""


def run_page(found: Gathered, record: Mapping[str, Any], anchor: str) -> RunPage:
    """The sections of a run, in reading order."""
    sections = [_topic(topic, found, anchor) for topic in ABOUT]
    own = [
        _samples(record),
        _labels(record),
        _conditions(record),
        _looks(record),
        _lineage(record),
    ]
    headline = record["headline"] or UNCHECKED
    kept = [one for one in (*sections, *own) if one is not None]
    return RunPage(found.run, anchor, record["invalid"], headline.split("\n"), kept)


def _topic(topic: str, found: Gathered, anchor: str) -> Section | None:
    tables = [one for one in found.tables if one["topic"] == topic and "rows" in one]
    texts = [one["text"] for one in found.tables if one["topic"] == topic and one.get("text")]
    if not tables and not texts and topic not in found.figures:
        return None
    figure = None
    if topic in found.figures:
        svg, label = found.figures[topic]
        figure = Markup(inline_svg(svg, f"{anchor}-{topic}", label))
    return Section(topic, *ABOUT[topic], texts=texts, figure=figure, tables=tables)


def _samples(record: Mapping[str, Any]) -> Section | None:
    about = (
        "Dev prompts: the floor's answer and that of the last snapshot, the first training seed. Right or wrong is "
        "said by gold or experts; the share of weak raters that prefers an answer to the floor's anchor stands beside. "
        "Items of the split that is checked are not shown."
    )
    return Section("samples", "Samples", about, samples=record["samples"]) if record["samples"] else None


def _labels(record: Mapping[str, Any]) -> Section | None:
    rows = [[one["artifact"], ", ".join(one["arms"]), one["verdict"], one["sentence"]] for one in record["gates"]]
    table = {"title": "", "columns": ["gate", "arms", "signal?", ""], "rows": rows, "ends": []}
    return Section("labels", "Weak labels", "Do the judgements carry a signal?", tables=[table]) if rows else None


def _conditions(record: Mapping[str, Any]) -> Section | None:
    found = record["conditions"]
    if found is None:
        return None
    rows = [
        [one["name"], one["quantity"], *_value(one), _bound(one), one["state"], one["note"]]
        for one in found["conditions"]
    ]
    columns = ["condition", "quantity", "value", "interval", "bound", "", "note"]
    table = {"title": "", "columns": columns, "rows": rows, "ends": []}
    return Section("conditions", "Stability conditions", found["sentence"], tables=[table])


def _value(one: Mapping[str, Any]) -> tuple[str, str]:
    if one["value"] is None:
        return "-", "-"
    limits = f"[{one['low']:.4g}, {one['high']:.4g}]" if one["low"] is not None and one["high"] is not None else "-"
    return f"{one['value']:.4g}", limits


def _bound(one: Mapping[str, Any]) -> str:
    return "-" if one["bound"] is None else f"at {one['side']} {one['bound']:.4g}"


def _looks(record: Mapping[str, Any]) -> Section | None:
    looks = record["looks"]
    if looks is None:
        return None
    rows = [
        ["this look", f"{looks['number']} of {looks['budget']}"],
        ["left", str(max(0, looks["budget"] - looks["length"]))],
        ["split opened", looks["split"]],
        ["final split opened before by", ", ".join(looks["before"]) or "nobody"],
        ["expert store", looks["store"]],
        ["ledger, length", str(looks["length"])],
        ["ledger, hash of its head", looks["hash"]],
    ]
    table = {"title": "", "columns": ["", ""], "rows": rows, "ends": []}
    about = "Every opening of the expert store is a line of a hash-chained ledger; as it stood after this look."
    return Section("looks", "Looks at the experts", about, tables=[table])


def _lineage(record: Mapping[str, Any]) -> Section:
    rows = [
        [
            one["artifact"],
            " ".join(sorted(set(one["parents"].values()))) or "-",
            " ".join(f"{name} {value[:12]}" for name, value in one["sha256"].items()) or "-",
            f"{one['seconds']:.0f} s",
            (one["commit"] or "-")[:12],
        ]
        for one in record["lineage"]
    ]
    columns = ["artifact", "made from", "SHA-256", "took", "commit"]
    table = {"title": "", "columns": columns, "rows": rows, "ends": []}
    return Section("lineage", "Lineage", "Every artifact that went into this, the oldest first.", tables=[table])


def compared(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Several runs in one table: a row an arm, or what a run of reward models alone has."""
    rows = []
    for record in records:
        look = "-" if record["looks"] is None else f"{record['looks']['number']} of {record['looks']['budget']}"
        start = [record["run"], "INVALID" if record["invalid"] else look]
        for row in record["rows"]:
            gain = record["gain"].get(row["name"], {})
            null = (record["fooling"].get(row["name"], {}) or {}).get("null")
            rows.append(
                [
                    *start,
                    row["name"],
                    *(level(interval(row["levels"][key])) if key in row["levels"] else "-" for key in MEASURES),
                    *(signed(interval(gain[key])) if key in gain else "-" for key in MEASURES),
                    signed(interval(null["difference"])) if null else "-",
                ]
            )
        for name, one in (record["agreement"] or {}).get("accuracy", {}).items():
            rows.append([*start, name, level(interval(one)), *["-"] * (2 * len(MEASURES))])
    columns = ["run", "look", "", *(f"{key}" for key in MEASURES), *(f"gain {key}" for key in MEASURES), "over null"]
    return {"title": "All runs", "columns": columns, "rows": rows, "ends": []}


MEASURES = ("forced", "free", "approval")


def html(pages: Sequence[RunPage], records: Sequence[Mapping[str, Any]], title: str) -> str:
    """The whole page."""
    table = compared(records) if len(records) > 1 else None
    return _environment().get_template("page.html").render(title=title, pages=pages, compared=table)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.tests["number"] = _number
    return environment


def _number(cell: str) -> bool:
    """Whether a cell begins as a number does: such are set flush right."""
    return cell[:1].isdigit() or (cell[:1] in "+-" and cell[1:2].isdigit())
