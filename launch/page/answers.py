"""What a rater sees, says, skips and takes back. A verdict's key is (assignment, attempt): sent twice, it is one."""

from __future__ import annotations

import dataclasses
import math

from sqlalchemy import Connection, Engine, bindparam, func, insert, select, update

from sandwiching.launch.page.collect import find_rater
from sandwiching.launch.page.records import (
    CONFIDENCE,
    Choice,
    Earlier,
    Question,
    RaterRow,
    Screen,
    Terms,
    Undoable,
    Verdict,
)
from sandwiching.launch.page.tables import AnyRow, assignments, pairs, raters, reading, verdicts, writing
from sandwiching.launch.page.turns import hand_out, hold, release

SETTLED = ("judged", "skipped")

_OWN = (
    select(assignments, pairs.c.gold)
    .join(pairs)
    .where(assignments.c.id == bindparam("key"), assignments.c.rater_id == bindparam("rater"))
)
_SEEN_BY = {
    "weak": (pairs.c.prompt, pairs.c.response_a, pairs.c.response_b, pairs.c.gold),
    "expert": (
        pairs.c.prompt,
        pairs.c.response_a,
        pairs.c.response_b,
        pairs.c.gold,
        pairs.c.source,
        pairs.c.references,
    ),
}
"""What a rater's page is made from. Source and references are not even fetched for the weak."""
_OPEN = {
    tier: select(assignments, *columns)
    .join(pairs)
    .where(assignments.c.rater_id == bindparam("rater"), assignments.c.state == "open")
    for tier, columns in _SEEN_BY.items()
}
_LAST = (
    select(assignments.c.id, assignments.c.attempt)
    .where(assignments.c.rater_id == bindparam("rater"), assignments.c.settled.is_not(None))
    .order_by(assignments.c.settled.desc())
    .limit(1)
)
_LABELS = select(func.sum(raters.c.judged)).where(raters.c.tier == bindparam("tier"))
_SAY = insert(verdicts)
_THIS = update(assignments).where(assignments.c.id == bindparam("this"))
_SETTLE = _THIS.values(state=bindparam("to"), settled=bindparam("now"))
_REOPEN = _THIS.values(state="open", attempt=assignments.c.attempt + 1, opened=bindparam("now"), settled=None)
_COUNT = update(raters).where(raters.c.id == bindparam("rater_id")).values(judged=raters.c.judged + bindparam("more"))
_EARLIER = select(verdicts.c.preference, verdicts.c.confidence, verdicts.c.why).where(
    verdicts.c.assignment_id == bindparam("key"), verdicts.c.attempt == bindparam("try_before")
)


class UnknownLink(LookupError):
    """The secret of a link is nobody's, or a form names what is not this rater's: the page tells neither apart."""


def screen(engine: Engine, token: str, terms: Terms, pair_count: int, now: float) -> Screen:
    """What a rater's page shows; hands out a pair when the rater has none. Raises UnknownLink."""
    with reading(engine) as connection:
        rater = _rater(connection, token)
        opened = _open(connection, rater)
        if opened is not None:
            return _screen(connection, rater, opened, terms, pair_count)
    with writing(engine) as connection:
        rater = _rater(connection, token)
        # Another request of this rater may have been first.
        if _open(connection, rater) is None:
            hand_out(connection, rater, terms, now)
        return _screen(connection, rater, _open(connection, rater), terms, pair_count)


def _screen(connection: Connection, rater: RaterRow, opened: AnyRow | None, terms: Terms, pair_count: int) -> Screen:
    last = _last(connection, rater)
    # With gold questions, here and below: a count without them would give away which pair was one.
    labels = connection.execute(_LABELS, {"tier": rater.tier}).scalar_one()
    per_pair, budget = terms.of(rater.tier)
    of = round(min(pair_count * per_pair, math.inf if budget is None else budget) / (1 - terms.gold_rate))
    return Screen(
        tier=rater.tier,
        question=None if opened is None else _question(connection, opened),
        undoable=None if last is None else Undoable(last.id, last.attempt),
        judged=rater.judged,
        wanted=terms.per_rater,
        labels=min(labels, of),
        of=of,
    )


def judge(engine: Engine, token: str, key: str, attempt: int, verdict: Verdict, terms: Terms, now: float) -> bool:
    """Write a verdict and hand out the next pair, in one transaction; False when it was written before.

    A verdict on a pair that was taken back meanwhile counts too: the work is done. Raises UnknownLink.
    """
    with writing(engine) as connection:
        rater = _rater(connection, token)
        row = _own(connection, rater, key)
        if row.attempt != attempt or row.state in SETTLED:
            return False
        if row.state == "released":
            hold(connection, rater.tier, row.pair_id, row.gold, 1)
        _settle(connection, row, "judged", verdict.preference(row.shown), now, verdict)
        connection.execute(_COUNT, {"rater_id": rater.id, "more": 1})
        _go_on(connection, dataclasses.replace(rater, judged=rater.judged + 1), row, terms, now)
    return True


def skip(engine: Engine, token: str, key: str, attempt: int, terms: Terms, now: float) -> bool:
    """Leave a pair to others, for good unless undone; False when it was settled before. Raises UnknownLink."""
    with writing(engine) as connection:
        rater = _rater(connection, token)
        row = _own(connection, rater, key)
        if row.attempt != attempt or row.state in SETTLED:
            return False
        if row.state == "open":
            hold(connection, rater.tier, row.pair_id, row.gold, -1)
        _settle(connection, row, "skipped", "skip", now)
        _go_on(connection, rater, row, terms, now)
    return True


def undo(engine: Engine, token: str, key: str, attempt: int, now: float) -> bool:
    """Open the rater's last verdict or skip again; False when this is not the last any more. Raises UnknownLink.

    The pair on the page meanwhile goes back and comes next. What was said stays in `verdicts`, without counting.
    """
    with writing(engine) as connection:
        rater = _rater(connection, token)
        row, last = _own(connection, rater, key), _last(connection, rater)
        if last is None or last.id != key or row.attempt != attempt:
            return False
        current = _open(connection, rater)
        if current is not None:
            release(connection, rater.tier, current.id, current.pair_id, current.gold)
        connection.execute(_REOPEN, {"this": key, "now": now})
        if row.state == "judged":
            connection.execute(_COUNT, {"rater_id": rater.id, "more": -1})
        else:
            hold(connection, rater.tier, row.pair_id, row.gold, 1)
    return True


def _rater(connection: Connection, token: str) -> RaterRow:
    rater = find_rater(connection, token)
    if rater is None:
        raise UnknownLink
    return rater


def _own(connection: Connection, rater: RaterRow, key: str) -> AnyRow:
    """The rater's assignment of a key. Raises UnknownLink for another's."""
    row = connection.execute(_OWN, {"key": key, "rater": rater.id}).one_or_none()
    if row is None:
        raise UnknownLink
    return row


def _open(connection: Connection, rater: RaterRow) -> AnyRow | None:
    """The assignment on the rater's page, with its pair as this tier sees it."""
    return connection.execute(_OPEN[rater.tier], {"rater": rater.id}).one_or_none()


def _last(connection: Connection, rater: RaterRow) -> AnyRow | None:
    return connection.execute(_LAST, {"rater": rater.id}).one_or_none()


def _settle(
    connection: Connection, row: AnyRow, state: str, preference: str, now: float, said: Verdict | None = None
) -> None:
    columns = {
        "assignment_id": row.id,
        "attempt": row.attempt,
        "preference": preference,
        "confidence": said.confidence if said else None,
        "client_seconds": said.seconds if said else None,
        "server_seconds": max(0.0, now - row.opened),
        "why": said.why if said else None,
        "at": now,
    }
    connection.execute(_SAY, columns)
    connection.execute(_SETTLE, {"this": row.id, "to": state, "now": now})


def _go_on(connection: Connection, rater: RaterRow, settled: AnyRow, terms: Terms, now: float) -> None:
    """The next pair, unless what was settled had been taken back and another is open already."""
    if settled.state == "open" or _open(connection, rater) is None:
        hand_out(connection, rater, terms, now)


def _question(connection: Connection, row: AnyRow) -> Question:
    columns = row._mapping
    texts = (row.response_a, row.response_b)
    first, second = texts if row.shown == "ab" else reversed(texts)
    return Question(
        key=row.id,
        attempt=row.attempt,
        prompt=row.prompt if isinstance(row.prompt, str) else tuple(row.prompt),
        first=first,
        second=second,
        source=columns.get("source"),
        references=tuple(columns.get("references") or ()),
        earlier=_earlier(connection, row) if row.attempt > 1 else None,
    )


def _earlier(connection: Connection, row: AnyRow) -> Earlier:
    said = connection.execute(_EARLIER, {"key": row.id, "try_before": row.attempt - 1}).one()
    choices: dict[str, Choice] = {"tie": "tie", row.shown[0]: "first", row.shown[1]: "second"}
    names = {value: name for name, value in CONFIDENCE.items()}
    return Earlier(choices.get(said.preference), names.get(said.confidence), said.why or "")
