"""Tables of the page that are made from report.json: {title, columns, rows, ends}, as those of shown.py."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sandwiching.oversight.report.record import interval
from sandwiching.oversight.summary import level, signed
from sandwiching.oversight.transitions import STATES

Rows = list[list[str]]
Record = Mapping[str, Any]
NONE = "-"
MEASURES = ("forced", "free", "approval")
NAMES = {"forced": "forced choice", "free": "free answers", "approval": "approval"}


def table(title: str, columns: Sequence[str], rows: Rows, ends: Sequence[int] = ()) -> dict[str, Any]:
    """One table. ends: places of rows that end a block."""
    return {"title": title, "columns": list(columns), "rows": rows, "ends": list(ends)}


def levels(one: Record | None) -> str:
    """0.71 [0.65, 0.77]"""
    return NONE if one is None else level(interval(one), "\n")


def changes(one: Record | None) -> str:
    """+0.06 [-0.01, 0.13]"""
    return NONE if one is None else signed(interval(one), "\n")


def pgr_table(record: Record) -> dict[str, Any]:
    """The three PGRs, each with what it is made of."""
    rows = [
        [
            one["of"],
            one["arm"],
            NAMES.get(one["measure"], "gold pairs"),
            changes(one["numerator"]),
            changes(one["denominator"]),
            one["said"].replace(" [", "\n[").replace(" (", "\n("),
        ]
        for one in record["pgr"]
    ]
    kinds = [one["of"] for one in record["pgr"]]
    ends = [place for place, kind in enumerate(kinds[:-1]) if kinds[place + 1] != kind]
    columns = ("PGR of", "arm", "measured on", "arm - raters", "ceiling - raters", "PGR")
    return table("", columns, rows, ends)


def gain_table(record: Record) -> dict[str, Any]:
    """Arm less floor."""
    rows = [[arm, *(changes(one.get(measure)) for measure in MEASURES)] for arm, one in record["gain"].items()]
    return table("", ("arm - floor", *NAMES.values()), rows)


def transition_tables(record: Record) -> list[dict[str, Any]]:
    """Of each arm, from states under the floor (rows) to states under the arm."""
    found = []
    for arm, one in record["fooling"].items():
        if one["transitions"]:
            rows = [[before, *(levels(one["transitions"][before][after]) for after in STATES)] for before in STATES]
            found.append(table(f"{arm}: share of answers, floor (rows) to arm (columns)", ("", *STATES), rows))
    return found


def judgements_table(record: Record) -> dict[str, Any]:
    """Who labelled, and how much."""
    rows = [
        [
            ", ".join(one["arms"]) or NONE,
            one.get("tier", NONE),
            str(one.get("seed", NONE)),
            {"task": "the task's own", "people": "people", "model": "a language model"}.get(one["raters"], NONE),
            *(_count(one["metrics"].get(f"judgements/{name}")) for name in ("judgements", "raters")),
            _number(one["metrics"].get("judgements/ties")),
        ]
        for one in record["judgements"]
    ]
    return table("Judgements", ("arms", "tier", "seed", "raters", "judgements", "persons", "share of ties"), rows)


def gates_table(record: Record) -> dict[str, Any]:
    """Whether weak judgements carry a signal."""
    rows = []
    for one in record["gates"]:
        half = one["split_half"]
        agreed = NONE if half is None else f"{half['agreement']:.2f}\n[{half['low']:.2f}, {half['high']:.2f}]"
        arms, p = ", ".join(one["arms"]) or one["artifact"], _number(one["permutation_p"], 3)
        rows.append([arms, str(one["seed"]), one["verdict"], agreed, p, one["sentence"]])
    return table("Gate: do weak judgements carry a signal?", ("arms", "seed", "", "split-half", "p", ""), rows)


def reward_models_table(record: Record) -> dict[str, Any]:
    """What was trained on them, and what it learned of its raters."""
    rows = [
        [
            ", ".join(one["arms"]) or NONE,
            *(str(one.get(name, NONE)) for name in ("seed", "member")),
            one["kind"] or NONE,
            _count(one["metrics"].get("reward_model/judgements")),
            _number(one["metrics"].get("reward_model/dev_accuracy")),
            _number(one["metrics"].get("reward_model/population_error")),
            _count(one["metrics"].get("reward_model/raters_above_half")),
        ]
        for one in record["reward_models"]
    ]
    columns = ("arms", "seed", "member", "kind", "judgements", "right on held-out votes", "error of raters, learned")
    return table("Reward models", (*columns, "raters wrong more than right"), rows)


def weak_agreement_table(record: Record) -> dict[str, Any]:
    """Of reward models with weak raters, beside that with experts on the same pairs; and of weak raters and experts."""
    gap, accuracy = record["weak_gap"], record["agreement"]["accuracy"]
    rows = [
        [arm, levels(accuracy.get(arm)), levels(gap["with_vote"].get(arm)), levels(gap["with_majority"].get(arm))]
        for arm in record["agreement"]["over"]
    ]
    if gap["gap"] is not None:
        rows.append(["an expert", NONE, NONE, f"{levels(gap['experts'])}\nall votes but one"])
        rows.append(["the vote left out", NONE, NONE, f"{levels(gap['weak'])}\nall votes but one"])
    columns = ("", "with the experts", "with one weak vote", "with the weak majority")
    return table("Agreement with weak raters on held-out pairs", columns, rows, [len(record["agreement"]["over"]) - 1])


def conditions_table(record: Record) -> dict[str, Any]:
    """Quantity, value, interval, bound, held?"""
    rows = []
    for one in record["conditions"]["conditions"]:
        both = one["low"] is not None and one["high"] is not None
        limits = f"\n[{one['low']:.4g}, {one['high']:.4g}]" if both else ""
        value = NONE if one["value"] is None else f"{one['value']:.4g}{limits}"
        bound = NONE if one["bound"] is None else f"at {one['side']} {one['bound']:.4g}"
        state = {"broken": "BROKEN", "unclear": "not shown to hold"}.get(one["state"], one["state"])
        rows.append([one["name"], state, value, bound, one["quantity"], one["note"]])
    return table("", ("condition", "", "value", "bound", "quantity", "note"), rows)


def last_second(one: Record) -> dict[str, Any]:
    """With the last column, the verdict, after the first: a narrow screen shows what stands on the left."""
    rows = [[row[0], row[-1], *row[1:-1]] for row in one["rows"]]
    columns = [one["columns"][0], one["columns"][-1], *one["columns"][1:-1]]
    return {**one, "columns": columns, "rows": rows}


def looks_table(record: Record) -> dict[str, Any]:
    """This look, and the ledger."""
    looks = record["looks"]
    now = looks["now"]
    rows = [
        ["this look", f"{looks['number']} of a budget of {looks['budget']}"],
        ["left after it", str(max(0, looks["budget"] - looks["number"]))],
        [
            "left when this page was made",
            "the ledger was not at hand" if now is None else f"{now['left']}, after {now['length']} looks; chain whole",
        ],
        ["split opened", looks["split"]],
        ["final split opened before by", ", ".join(looks["before"]) or "nobody"],
        ["expert store", looks["store"]],
        ["lines of the ledger then", str(looks["length"])],
        ["hash of its head then", looks["hash"]],
    ]
    return table("", ("", ""), rows)


def lineage_table(record: Record) -> dict[str, Any]:
    """Every artifact, the oldest first."""
    rows = [
        [
            one["stage"],
            one["key"],
            "\n".join(f"{name.rpartition('/')[2]} {value[:12]}" for name, value in one["sha256"].items()) or NONE,
            " ".join(sorted(set(one["parents"].values()))) or NONE,
            f"{one['seconds']:.0f} s",
            (one["commit"] or NONE)[:12],
        ]
        for one in record["lineage"]
    ]
    return table("", ("stage", "key", "SHA-256", "made from", "took", "commit"), rows)


def compared(records: Sequence[Record]) -> dict[str, Any]:
    """Several runs: a row an arm (measures of policies, or agreement with experts of reward models)."""
    rows, ends = list[list[str]](), list[int]()
    for record in records:
        looks = record["looks"]
        look = NONE if looks is None else f"{looks['number']} of {looks['budget']}"
        start = [record["run"], "INVALID" if record["invalid"] else look]
        for row in record["rows"]:
            gain = record["gain"].get(row["name"], {})
            null = (record["fooling"].get(row["name"]) or {}).get("null")
            fooled = (record["fooling"].get(row["name"]) or {}).get("fooling")
            shown = [levels(row["levels"].get(measure)) for measure in MEASURES]
            gained = [changes(gain.get(measure)) for measure in MEASURES]
            beside = [changes(fooled and fooled["change"]), changes(null and null["difference"]), NONE]
            rows.append([*start, row["name"], *shown, *gained, *beside])
        for name, one in (record["agreement"] or {}).get("accuracy", {}).items():
            rows.append([*start, name, *[NONE] * (2 * len(MEASURES) + 2), levels(one)])
        if not record["rows"] and record["agreement"] is None:
            rows.append([*start, "nothing was checked", *[NONE] * (2 * len(MEASURES) + 3)])
        ends.append(len(rows) - 1)
    columns = ("run", "look", "", *NAMES.values(), *(f"gain, {name}" for name in NAMES.values()))
    return _without_empty(table("", (*columns, "fooling", "fooling - null", "agrees with experts"), rows, ends))


def _without_empty(one: dict[str, Any]) -> dict[str, Any]:
    """Without columns that say nothing of any run."""
    kept = [place for place in range(len(one["columns"])) if any(row[place] != NONE for row in one["rows"])]
    rows = [[row[place] for place in kept] for row in one["rows"]]
    return {**one, "columns": [one["columns"][place] for place in kept], "rows": rows}


def _number(value: float | None, digits: int = 2) -> str:
    return NONE if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def _count(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f}"
