"""Pairs and raters into the database."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, Engine, bindparam, exists, func, insert, select, update

from sandwiching.launch.page.records import RaterRow
from sandwiching.launch.page.tables import assignments, collection, pairs, raters, reading, writing
from sandwiching.tasks.pair_rows import PairRow
from sandwiching.tasks.records import TIERS

TOKEN_BYTES = 24

_BY_TOKEN = select(raters.c.id, raters.c.rater, raters.c.tier, raters.c.judged, raters.c.turns).where(
    raters.c.token_hash == bindparam("token_hash")
)


def share(*parts: object) -> float:
    """A number in 0..1, 1 excluded, that depends on the parts alone."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48


def add_pairs(engine: Engine, rows: Sequence[PairRow], *, gold: bool) -> int:
    """Add the pairs that the database lacks; returns how many. gold: as questions whose answer is known.

    A known pair that nobody was given yet becomes a gold question; one that was given stays what it is.
    Raises ValueError for a pair whose id is known with other texts, or a gold question without answer.
    """
    lacking = [row.pair.id for row in rows if gold and row.answer is None]
    if lacking:
        raise ValueError(f"gold questions: {len(lacking)} pairs have no answer (a, b or tie), e.g. {lacking[0]}")
    with writing(engine) as connection:
        seed = connection.execute(select(collection.c.seed)).scalar_one()
        known = {row.pair: row for row in connection.execute(select(pairs)).all()}
        for row in rows:
            there = known.get(row.pair.id)
            if there is not None and (there.response_a, there.response_b) != (row.pair.response_a, row.pair.response_b):
                raise ValueError(
                    f"pair {row.pair.id!r}: the database holds another one of this id; "
                    "give the pairs ids of their own, or another --database"
                )
        new = [row for row in rows if row.pair.id not in known]
        if new:
            connection.execute(insert(pairs), [_columns(row, gold, seed) for row in new])
        given = exists().where(assignments.c.pair_id == pairs.c.id)
        changed = 0
        for row in rows if gold else ():
            if row.pair.id in known:
                place = pairs.c.pair == row.pair.id
                turned = update(pairs).where(place, ~pairs.c.gold, ~given).values(gold=True, answer=row.answer)
                changed += connection.execute(turned).rowcount
    return len(new) + changed


def _columns(row: PairRow, gold: bool, seed: int) -> dict[str, object]:
    pair = row.pair
    return {
        "pair": pair.id,
        "prompt": pair.prompt.text if isinstance(pair.prompt.text, str) else list(pair.prompt.text),
        "response_a": pair.response_a,
        "response_b": pair.response_b,
        "finished_a": row.finished_a,
        "finished_b": row.finished_b,
        "group": pair.prompt.group,
        "source": row.source,
        "references": list(row.references) or None,
        "answer": row.answer if gold else None,
        "gold": gold,
        "served": True,
        "rank": 0.0,
        "shuffle": share("order", seed, pair.id),
        "held_weak": 0,
        "held_expert": 0,
    }


def serve_only(engine: Engine, ids: Collection[str]) -> None:
    """Hand out the pairs of these ids and no others from here on; gold questions stay. What is open stays open."""
    with writing(engine) as connection:
        connection.execute(update(pairs).values(served=False))
        if ids:
            one = update(pairs).where(pairs.c.pair == bindparam("named")).values(served=True)
            connection.execute(one, [{"named": name} for name in sorted(ids)])


def set_priorities(engine: Engine, priority: Mapping[str, float]) -> None:
    """Order of the pairs by id, the highest first; pairs that are not named come last. Empty: all are equal.

    Raises ValueError for an id that is no pair of the database.
    """
    with writing(engine) as connection:
        known = set(connection.scalars(select(pairs.c.pair)))
        strange = sorted(set(priority) - known)
        if strange:
            raise ValueError(f"--priority: {len(strange)} ids are no pairs here, e.g. {strange[0]!r}")
        connection.execute(update(pairs).values(rank=1 - min(priority.values()) if priority else 0.0))
        if priority:
            one = update(pairs).where(pairs.c.pair == bindparam("named")).values(rank=bindparam("place"))
            connection.execute(one, [{"named": name, "place": -value} for name, value in priority.items()])


def invite(engine: Engine, name: str, tier: str) -> str:
    """The secret of a rater's link, new each time: an earlier link of the same name ends, its judgements stay.

    The database keeps its sha256 alone. Raises ValueError for a name or a tier that cannot be, or another tier before.
    """
    if not name.strip() or len(name) > 200:
        raise ValueError(f"rater: a name has 1 to 200 characters, not {name!r:.60}")
    if tier not in TIERS:
        raise ValueError(f"--tier: must be weak or expert, is {tier!r}")
    token = secrets.token_urlsafe(TOKEN_BYTES)
    with writing(engine) as connection:
        known = connection.execute(select(raters.c.id, raters.c.tier).where(raters.c.name == name)).one_or_none()
        if known is None:
            salt = connection.execute(select(collection.c.salt)).scalar_one()
            row = {"name": name, "rater": rater_id(name, salt), "tier": tier, "token_hash": token_hash(token)}
            connection.execute(insert(raters).values(judged=0, turns=0, **row))
        elif known.tier != tier:
            raise ValueError(f"rater {name!r} is {known.tier} already; a rater has one tier, so give another name")
        else:
            connection.execute(update(raters).where(raters.c.id == known.id).values(token_hash=token_hash(token)))
    return token


def rater_id(name: str, salt: str) -> str:
    """A rater's id in files, as tasks.columns.hash_rater makes them, but with the database's secret salt: who has the
    file alone cannot find a person by trying names."""
    return "r-" + hmac.new(bytes.fromhex(salt), name.encode(), hashlib.sha256).hexdigest()[:12]


def token_hash(token: str) -> str:
    """What is kept of a secret. It is random and long, so that a plain hash cannot be reversed by trying."""
    return hashlib.sha256(token.encode()).hexdigest()


def find_rater(connection: Connection, token: str) -> RaterRow | None:
    """Whose secret it is; None when it is nobody's."""
    row = connection.execute(_BY_TOKEN, {"token_hash": token_hash(token)}).one_or_none()
    return None if row is None else RaterRow(*row)


def count_pairs(engine: Engine) -> tuple[int, int]:
    """(pairs, gold questions) in the database."""
    with reading(engine) as connection:
        found = dict(connection.execute(select(pairs.c.gold, func.count()).group_by(pairs.c.gold)).all())
    return found.get(False, 0), found.get(True, 0)
