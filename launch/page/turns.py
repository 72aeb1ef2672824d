"""Which pair a rater gets next, and giving pairs back. Every function here runs inside a writing transaction.

A pair is held while somebody judges it or has judged it: it gets no more raters than labels are wanted. A rater meets
a pair once; the sides are a function of (seed, rater, pair). Statements are built once: building takes longer than
running them.
"""

from __future__ import annotations

import secrets

from sqlalchemy import Connection, bindparam, exists, insert, or_, select, update

from sandwiching.launch.page.collect import share
from sandwiching.launch.page.records import RaterRow, Terms
from sandwiching.launch.page.tables import AnyRow, assignments, collection, pairs, raters

KEY_BYTES = 16

_COLLECTION = select(collection.c.seed, collection.c.held)
_MET = exists().where(assignments.c.pair_id == pairs.c.id, assignments.c.rater_id == bindparam("rater"))
_NEW = select(pairs.c.id, pairs.c.pair, pairs.c.gold).where(~_MET).limit(1)
_NEW_GOLD = _NEW.where(pairs.c.gold).order_by(pairs.c.shuffle)
_NEW_PAIR = _NEW.where(~pairs.c.gold, pairs.c.held < bindparam("labels")).order_by(
    pairs.c.rank, pairs.c.held, pairs.c.shuffle
)
_RELEASED = (
    select(assignments.c.id, assignments.c.pair_id, pairs.c.gold)
    .join(pairs)
    .where(assignments.c.rater_id == bindparam("rater"), assignments.c.state == "released")
    .where(or_(pairs.c.gold, pairs.c.held < bindparam("labels")))
    .order_by(assignments.c.opened)
    .limit(1)
)
_OVERDUE = (
    select(assignments.c.id, assignments.c.pair_id, pairs.c.gold)
    .join(pairs)
    .where(assignments.c.state == "open", assignments.c.opened < bindparam("since"))
)
_THIS = update(assignments).where(assignments.c.id == bindparam("this"))
_RENEW = _THIS.values(state="open", opened=bindparam("now"))
_RELEASE = _THIS.values(state="released")
_ADD = insert(assignments).values(state="open", attempt=1)
_TURN = update(raters).where(raters.c.id == bindparam("rater_id")).values(turns=raters.c.turns + 1)
_HOLD_PAIR = update(pairs).where(pairs.c.id == bindparam("pair_id")).values(held=pairs.c.held + bindparam("labels"))
_HOLD_ALL = update(collection).values(held=collection.c.held + bindparam("labels"))


def hand_out(connection: Connection, rater: RaterRow, terms: Terms, now: float) -> bool:
    """Open an assignment for a rater who has none open; whether there was a pair left. rater: as it stands now.

    First what the rater was given and did not judge; then, at terms.gold_rate, a gold question; then the pair of the
    highest priority, among equals the least judged, among these at random.
    """
    release_overdue(connection, now - terms.hold)
    if terms.per_rater is not None and rater.judged >= terms.per_rater:
        return False
    seed, held = connection.execute(_COLLECTION).one()
    labels = terms.labels_per_pair if terms.budget is None or held < terms.budget else 0
    room = {"rater": rater.id, "labels": labels}
    again = connection.execute(_RELEASED, room).one_or_none()
    if again is not None:
        connection.execute(_RENEW, {"this": again.id, "now": now})
        hold(connection, again.pair_id, again.gold, 1)
        return True
    found: AnyRow | None = None
    if share("gold", seed, rater.rater, rater.turns) < terms.gold_rate:
        found = connection.execute(_NEW_GOLD, {"rater": rater.id}).one_or_none()
    if found is None:
        found = connection.execute(_NEW_PAIR, room).one_or_none()
    if found is None:
        return False
    sides = "ab" if share("side", seed, rater.rater, found.pair) < 0.5 else "ba"
    key = secrets.token_urlsafe(KEY_BYTES)
    columns = {"id": key, "rater_id": rater.id, "pair_id": found.id, "shown": sides, "opened": now}
    connection.execute(_ADD, columns)
    connection.execute(_TURN, {"rater_id": rater.id})
    hold(connection, found.id, found.gold, 1)
    return True


def hold(connection: Connection, pair_id: int, gold: bool, labels: int) -> None:
    """Count labels (1 or -1) of a pair as spent; gold questions are outside the budget."""
    connection.execute(_HOLD_PAIR, {"pair_id": pair_id, "labels": labels})
    if not gold:
        connection.execute(_HOLD_ALL, {"labels": labels})


def release(connection: Connection, assignment_id: str, pair_id: int, gold: bool) -> None:
    """Take an open assignment back; its verdict is still welcome, should the rater send it from an open page."""
    connection.execute(_RELEASE, {"this": assignment_id})
    hold(connection, pair_id, gold, -1)


def release_overdue(connection: Connection, since: float) -> None:
    """Take back what was handed out before `since` and not judged."""
    for row in connection.execute(_OVERDUE, {"since": since}).all():
        release(connection, row.id, row.pair_id, row.gold)
