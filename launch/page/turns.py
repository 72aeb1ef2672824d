"""Which pair a rater gets next, and giving pairs back. Every function here runs inside a writing transaction.

A pair is held while somebody judges it or has judged it: it gets no more raters than labels are wanted. A rater meets
a pair once; the sides are a function of (seed, rater, pair).
"""

from __future__ import annotations

import secrets

from sqlalchemy import Connection, exists, insert, or_, select, update

from sandwiching.launch.page.collect import share
from sandwiching.launch.page.records import RaterRow, Terms
from sandwiching.launch.page.tables import AnyRow, assignments, collection, pairs, raters

KEY_BYTES = 16


def hand_out(connection: Connection, rater: RaterRow, terms: Terms, now: float) -> bool:
    """Open an assignment for a rater who has none open; whether there was a pair left. rater: as it stands now.

    First what the rater was given and did not judge; then, at terms.gold_rate, a gold question; then the pair of the
    highest priority, among equals the least judged, among these at random.
    """
    release_overdue(connection, now - terms.hold)
    if terms.per_rater is not None and rater.judged >= terms.per_rater:
        return False
    seed, held = connection.execute(select(collection.c.seed, collection.c.held)).one()
    labels_left = terms.budget is None or held < terms.budget
    again = _given_before(connection, rater, terms, labels_left)
    if again is not None:
        renewed = update(assignments).where(assignments.c.id == again.id).values(state="open", opened=now)
        connection.execute(renewed)
        hold(connection, again.pair_id, again.gold, 1)
        return True
    gold = share("gold", seed, rater.rater, rater.turns) < terms.gold_rate
    found = _new_pair(connection, rater, terms, gold=True) if gold else None
    if found is None and labels_left:
        found = _new_pair(connection, rater, terms, gold=False)
    if found is None:
        return False
    connection.execute(
        insert(assignments).values(
            id=secrets.token_urlsafe(KEY_BYTES),
            rater_id=rater.id,
            pair_id=found.id,
            shown="ab" if share("side", seed, rater.rater, found.pair) < 0.5 else "ba",
            state="open",
            attempt=1,
            opened=now,
        )
    )
    connection.execute(update(raters).where(raters.c.id == rater.id).values(turns=raters.c.turns + 1))
    hold(connection, found.id, found.gold, 1)
    return True


def _given_before(connection: Connection, rater: RaterRow, terms: Terms, labels_left: bool) -> AnyRow | None:
    room = pairs.c.held < terms.labels_per_pair
    wanted = or_(pairs.c.gold, room) if labels_left else pairs.c.gold
    return connection.execute(
        select(assignments.c.id, assignments.c.pair_id, pairs.c.gold)
        .join(pairs)
        .where(assignments.c.rater_id == rater.id, assignments.c.state == "released", wanted)
        .order_by(assignments.c.opened)
        .limit(1)
    ).one_or_none()


def _new_pair(connection: Connection, rater: RaterRow, terms: Terms, gold: bool) -> AnyRow | None:
    met = exists().where(assignments.c.pair_id == pairs.c.id, assignments.c.rater_id == rater.id)
    wanted = select(pairs.c.id, pairs.c.pair, pairs.c.gold).where(pairs.c.gold == gold, ~met)
    if not gold:
        wanted = wanted.where(pairs.c.held < terms.labels_per_pair)
    order = (pairs.c.shuffle,) if gold else (pairs.c.rank, pairs.c.held, pairs.c.shuffle)
    return connection.execute(wanted.order_by(*order).limit(1)).one_or_none()


def hold(connection: Connection, pair_id: int, gold: bool, labels: int) -> None:
    """Count labels (1 or -1) of a pair as spent; gold questions are outside the budget."""
    connection.execute(update(pairs).where(pairs.c.id == pair_id).values(held=pairs.c.held + labels))
    if not gold:
        connection.execute(update(collection).values(held=collection.c.held + labels))


def release(connection: Connection, assignment_id: str, pair_id: int, gold: bool) -> None:
    """Take an open assignment back; its verdict is still welcome, should the rater send it from an open page."""
    connection.execute(update(assignments).where(assignments.c.id == assignment_id).values(state="released"))
    hold(connection, pair_id, gold, -1)


def release_overdue(connection: Connection, since: float) -> None:
    """Take back what was handed out before `since` and not judged."""
    late = connection.execute(
        select(assignments.c.id, assignments.c.pair_id, pairs.c.gold)
        .join(pairs)
        .where(assignments.c.state == "open", assignments.c.opened < since)
    ).all()
    for row in late:
        release(connection, row.id, row.pair_id, row.gold)
