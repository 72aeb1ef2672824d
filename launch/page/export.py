"""Judgements out of the database: JSONL of this project's schema, and how each rater stands."""

from __future__ import annotations

import gzip
import json
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist, median
from typing import Any

from sqlalchemy import Engine, func, select

from sandwiching.launch.page.tables import AnyRow, assignments, pairs, raters, reading, verdicts
from sandwiching.tasks.records import Judgement

CLOCK_SLACK = 1.0
"""Seconds by which the browser's measure may exceed the server's and still be believed."""


def export_judgements(engine: Engine, path: Path, *, gold: bool = False) -> int:
    """Write the verdicts that stand, in order of time; returns how many. gold: those on gold questions instead.

    Beside the columns of a Judgement: finished_a, finished_b, and `why` in the rater's own words.
    Raises ValueError when there is none.
    """
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in _judgements(engine, gold)]
    if not lines:
        raise ValueError("nothing has been judged yet" if not gold else "no gold question has been judged yet")
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "".join(lines).encode()
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    unfinished.replace(path)
    return len(lines)


def _judgements(engine: Engine, gold: bool) -> Iterator[dict[str, Any]]:
    for row in _standing_verdicts(engine):
        if row.gold != gold:
            continue
        judgement = Judgement(
            prompt=row.prompt,
            response_a=row.response_a,
            response_b=row.response_b,
            preference=row.preference,
            rater=row.rater,
            tier=row.tier,
            confidence=row.confidence,
            seconds=round(believed_seconds(row.client_seconds, row.server_seconds), 2),
            group=row.group,
            pair=row.pair,
            shown=shown(row.shown, row.tier, row.source, row.references),
        )
        columns = {**asdict(judgement), "why": row.why}
        kept = {name: value for name, value in columns.items() if value is not None}
        yield {**kept, "finished_a": row.finished_a, "finished_b": row.finished_b}


def shown(sides: str, tier: str, source: str | None, references: list[str] | None) -> str:
    """The column `shown`: ab or ba, whichever stood first, and what an expert saw beside: ba+source+references."""
    beside = [name for name, value in (("source", source), ("references", references)) if value and tier == "expert"]
    return "+".join([sides, *beside])


def believed_seconds(client: float | None, server: float) -> float:
    """The time that the page was in sight by the browser, unless it is more than passed between two requests."""
    return client if client is not None and client <= server + CLOCK_SLACK else server


def _standing_verdicts(engine: Engine) -> list[AnyRow]:
    standing = (verdicts.c.assignment_id == assignments.c.id) & (verdicts.c.attempt == assignments.c.attempt)
    said = [verdicts.c[name] for name in ("preference", "confidence", "client_seconds", "server_seconds", "why")]
    query = (
        select(*said, assignments.c.shown, *[column for column in pairs.c if column.name != "id"], raters)
        .select_from(assignments.join(verdicts, standing).join(pairs).join(raters))
        .where(assignments.c.state == "judged")
        .order_by(verdicts.c.at, verdicts.c.id)
    )
    with reading(engine) as connection:
        return list(connection.execute(query).all())


@dataclass(frozen=True, slots=True)
class Standing:
    """One rater: verdicts that stand (gold apart), skips, undone verdicts; gold questions answered as known.

    gold_accuracy: with its 95 % Wilson interval; None where no gold question was answered. seconds: median.
    """

    name: str
    rater: str
    tier: str
    judged: int
    skipped: int
    undone: int
    ties: int
    seconds: float | None
    gold_right: int
    gold_answered: int
    gold_accuracy: float | None
    gold_interval: tuple[float, float] | None


def standings(engine: Engine) -> list[Standing]:
    """All raters, by name."""
    rows = defaultdict(list)
    for row in _standing_verdicts(engine):
        rows[row.name].append(row)
    with reading(engine) as connection:
        stands = verdicts.c.attempt == assignments.c.attempt
        skipped = _counts(connection, stands & (verdicts.c.preference == "skip"))
        undone = _counts(connection, verdicts.c.attempt < assignments.c.attempt)
        people = connection.execute(select(raters).order_by(raters.c.name)).all()
    return [_standing(one, rows[one.name], skipped.get(one.id, 0), undone.get(one.id, 0)) for one in people]


def _counts(connection: Any, where: Any) -> dict[int, int]:
    joined = assignments.join(verdicts)
    query = select(assignments.c.rater_id, func.count(verdicts.c.id)).select_from(joined).where(where)
    return dict(connection.execute(query.group_by(assignments.c.rater_id)).all())


def _standing(rater: AnyRow, rows: list[AnyRow], skipped: int, undone: int) -> Standing:
    asked = [row for row in rows if row.gold]
    right = sum(row.preference == row.answer for row in asked)
    judged = [row for row in rows if not row.gold]
    times = [believed_seconds(row.client_seconds, row.server_seconds) for row in rows]
    return Standing(
        name=rater.name,
        rater=rater.rater,
        tier=rater.tier,
        judged=len(judged),
        skipped=skipped,
        undone=undone,
        ties=sum(row.preference == "tie" for row in judged),
        seconds=round(median(times), 1) if times else None,
        gold_right=right,
        gold_answered=len(asked),
        gold_accuracy=right / len(asked) if asked else None,
        gold_interval=wilson(right, len(asked)) if asked else None,
    )


def wilson(right: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of a proportion (Wilson, JASA 1927), which holds for few answers and for all right."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, spread = right / total, z * z / total
    middle = (share + spread / 2) / (1 + spread)
    half = (z / (1 + spread)) * (share * (1 - share) / total + spread / (4 * total)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)
