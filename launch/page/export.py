"""Judgements out of the database: JSONL of this project's schema, and how each rater stands."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from sqlalchemy import Engine, func, select

from sandwiching.launch.page.tables import AnyRow, assignments, pairs, raters, reading, verdicts
from sandwiching.reward_model.reliability.records import wilson_interval
from sandwiching.tasks.atomic import write_atomic
from sandwiching.tasks.records import Judgement, Preference, Tier

CLOCK_SLACK = 1.0
"""Seconds by which the browser's measure may exceed the server's and still be believed."""


def export_judgements(
    engine: Engine,
    path: Path,
    *,
    gold: bool = False,
    tier: Tier | None = None,
    pair_ids: Collection[str] | None = None,
) -> int:
    """Write the verdicts that stand, in order of time; returns how many. gold: those on gold questions instead. tier,
    pair_ids: of these raters and pairs only.

    Each row stands as the rater saw it: response_a first. Beside the columns of a Judgement: finished_a, finished_b,
    and `why` in the rater's own words. Raises ValueError when there is none.
    """
    rows = [row for row in _standing_verdicts(engine) if row.gold == gold and tier in (None, row.tier)]
    if pair_ids is not None:
        rows = [row for row in rows if row.pair in pair_ids]
    lines = [json.dumps(_columns(row), ensure_ascii=False) + "\n" for row in rows]
    if not lines:
        what = "no gold question has" if gold else "nothing has" if pair_ids is None else "none of these pairs has"
        raise ValueError(f"{what} been judged yet{'' if tier is None else f' by {tier} raters'}")
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "".join(lines).encode()
    write_atomic(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return len(lines)


def _columns(row: AnyRow) -> dict[str, Any]:
    """One verdict as a row of a file of judgements."""
    first = ((row.response_a, row.finished_a), (row.response_b, row.finished_b))
    (response_a, finished_a), (response_b, finished_b) = first if row.shown == "ab" else reversed(first)
    turned: dict[str, Preference] = {"a": "b", "b": "a", "tie": "tie"}
    judgement = Judgement(
        prompt=row.prompt,
        response_a=response_a,
        response_b=response_b,
        preference=row.preference if row.shown == "ab" else turned[row.preference],
        rater=row.rater,
        tier=row.tier,
        confidence=row.confidence,
        seconds=round(believed_seconds(row.client_seconds, row.server_seconds), 2),
        group=row.group,
        pair=row.pair,
        shown=shown(row.tier, row.source, row.references),
    )
    columns = {**asdict(judgement), "why": row.why}
    kept = {name: value for name, value in columns.items() if value is not None}
    return {**kept, "finished_a": finished_a, "finished_b": finished_b}


def shown(tier: str, source: str | None, references: list[str] | None) -> str:
    """The column `shown`: ab (the row stands as it was shown), and what an expert saw beside: ab+source+references."""
    beside = [name for name, value in (("source", source), ("references", references)) if value and tier == "expert"]
    return "+".join(["ab", *beside])


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
        gold_interval=_interval(right, len(asked)) if asked else None,
    )


def _interval(right: int, answered: int) -> tuple[float, float]:
    low, high = wilson_interval(np.array([right]), np.array([answered]))
    return float(low[0]), float(high[0])
