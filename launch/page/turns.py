"""Which pair a rater gets next, and giving pairs back. Every function here runs inside a writing transaction.

A pair is held while somebody judges it or has judged it, weak raters and experts counted apart: it gets no more raters
than labels are wanted. A rater meets a pair once; the sides are a function of (seed, rater, pair). Statements are built
once: building takes longer than running them.
"""

from __future__ import annotations

import secrets

from sqlalchemy import Connection, and_, bindparam, exists, insert, or_, select, update

from sandwiching.launch.page.collect import share
from sandwiching.launch.page.records import RaterRow, Terms
from sandwiching.launch.page.tables import AnyRow, assignments, collection, pairs, raters
from sandwiching.tasks.records import TIERS, Tier

KEY_BYTES = 16

_COLLECTION = select(collection)
_MET = exists().where(assignments.c.pair_id == pairs.c.id, assignments.c.rater_id == bindparam("rater"))
_NEW = select(pairs.c.id, pairs.c.pair, pairs.c.gold).where(~_MET).limit(1)
_NEW_GOLD = _NEW.where(pairs.c.gold).order_by(pairs.c.shuffle)
_HELD = {tier: pairs.c[f"held_{tier}"] for tier in TIERS}
_NEW_PAIR = {
    tier: _NEW.where(~pairs.c.gold, pairs.c.served, held < bindparam("labels")).order_by(
        pairs.c.rank, held, pairs.c.shuffle
    )
    for tier, held in _HELD.items()
}
_RELEASED = {
    tier: select(assignments.c.id, assignments.c.pair_id, pairs.c.gold)
    .join(pairs)
    .where(assignments.c.rater_id == bindparam("rater"), assignments.c.state == "released")
    .where(or_(pairs.c.gold, and_(pairs.c.served, held < bindparam("labels"))))
    .order_by(assignments.c.opened)
    .limit(1)
    for tier, held in _HELD.items()
}
_OVERDUE = (
    select(assignments.c.id, assignments.c.pair_id, pairs.c.gold, raters.c.tier)
    .join(pairs)
    .join(raters)
    .where(assignments.c.state == "open", assignments.c.opened < bindparam("since"))
)
_THIS = update(assignments).where(assignments.c.id == bindparam("this"))
_RENEW = _THIS.values(state="open", opened=bindparam("now"))
_RELEASE = _THIS.values(state="released")
_ADD = insert(assignments).values(state="open", attempt=1)
_TURN = update(raters).where(raters.c.id == bindparam("rater_id")).values(turns=raters.c.turns + 1)
_HOLD_PAIR = {
    tier: update(pairs).where(pairs.c.id == bindparam("pair_id")).values({held: held + bindparam("labels")})
    for tier, held in _HELD.items()
}
_HOLD_ALL = {
    tier: update(collection).values({collection.c[held.name]: collection.c[held.name] + bindparam("labels")})
    for tier, held in _HELD.items()
}


def hand_out(connection: Connection, rater: RaterRow, terms: Terms, now: float) -> bool:
    """Open an assignment for a rater who has none open; whether there was a pair left. rater: as it stands now.

    First what the rater was given and did not judge; then, at terms.gold_rate, a gold question; then the pair of the
    highest priority, among equals the least judged, among these at random.
    """
    release_overdue(connection, now - terms.hold)
    if terms.per_rater is not None and rater.judged >= terms.per_rater:
        return False
    whole, (labels, budget) = connection.execute(_COLLECTION).one(), terms.of(rater.tier)
    spent = whole.held_weak if rater.tier == "weak" else whole.held_expert
    room = {"rater": rater.id, "labels": labels if budget is None or spent < budget else 0}
    again = connection.execute(_RELEASED[rater.tier], room).one_or_none()
    if again is not None:
        connection.execute(_RENEW, {"this": again.id, "now": now})
        hold(connection, rater.tier, again.pair_id, again.gold, 1)
        return True
    found: AnyRow | None = None
    if share("gold", whole.seed, rater.rater, rater.turns) < terms.gold_rate:
        found = connection.execute(_NEW_GOLD, {"rater": rater.id}).one_or_none()
    if found is None:
        found = connection.execute(_NEW_PAIR[rater.tier], room).one_or_none()
    if found is None:
        return False
    sides = "ab" if share("side", whole.seed, rater.rater, found.pair) < 0.5 else "ba"
    key = secrets.token_urlsafe(KEY_BYTES)
    columns = {"id": key, "rater_id": rater.id, "pair_id": found.id, "shown": sides, "opened": now}
    connection.execute(_ADD, columns)
    connection.execute(_TURN, {"rater_id": rater.id})
    hold(connection, rater.tier, found.id, found.gold, 1)
    return True


def hold(connection: Connection, tier: Tier, pair_id: int, gold: bool, labels: int) -> None:
    """Count labels (1 or -1) of a pair as spent; gold questions are outside the budget."""
    connection.execute(_HOLD_PAIR[tier], {"pair_id": pair_id, "labels": labels})
    if not gold:
        connection.execute(_HOLD_ALL[tier], {"labels": labels})


def release(connection: Connection, tier: Tier, assignment_id: str, pair_id: int, gold: bool) -> None:
    """Take an open assignment back; its verdict is still welcome, should the rater send it from an open page."""
    connection.execute(_RELEASE, {"this": assignment_id})
    hold(connection, tier, pair_id, gold, -1)


def release_overdue(connection: Connection, since: float) -> None:
    """Take back what was handed out before `since` and not judged."""
    for row in connection.execute(_OVERDUE, {"since": since}).all():
        release(connection, row.tier, row.id, row.pair_id, row.gold)
