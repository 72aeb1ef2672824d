"""The database of the page: SQLite in a file by default, PostgreSQL by URL. Tables, and transactions that cannot mix.

collection (one row) | raters | pairs | assignments (a rater and a pair, once) | verdicts (appended, never changed)
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    make_url,
    select,
)
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError

SCHEMA = 2
"""Of the tables below; a database of another one is refused."""
LOCK_SECONDS = 30
"""How long a transaction waits for the one before it."""
CONNECTIONS = 16
SALT_BYTES = 32

_QUEUE = Lock()

AnyRow = Row[*tuple[Any, ...]]

metadata = MetaData()

collection = Table(
    "collection",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("schema", Integer, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("salt", String(64), nullable=False, comment="secret, hexadecimal: what names of raters are hashed with"),
    Column("held_weak", Integer, nullable=False, comment="labels judged or being judged, gold questions apart"),
    Column("held_expert", Integer, nullable=False),
    CheckConstraint("id = 1", name="one_collection"),
)

raters = Table(
    "raters",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("rater", String(14), nullable=False, unique=True, comment="hashed id, as in files of judgements"),
    Column("tier", String(6), nullable=False),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("judged", Integer, nullable=False, default=0, comment="verdicts that stand, gold questions too"),
    Column("turns", Integer, nullable=False, default=0, comment="pairs handed out so far"),
    CheckConstraint("tier in ('weak', 'expert')", name="known_tier"),
)

pairs = Table(
    "pairs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("pair", Text, nullable=False, unique=True),
    Column("prompt", JSON, nullable=False),
    Column("response_a", Text, nullable=False),
    Column("response_b", Text, nullable=False),
    Column("finished_a", Boolean, nullable=False),
    Column("finished_b", Boolean, nullable=False),
    Column("group", Text, nullable=False),
    Column("source", Text),
    Column("references", JSON(none_as_null=True)),
    Column("answer", String(3), comment="the verdict known to be right, of a gold question"),
    Column("gold", Boolean, nullable=False),
    Column("served", Boolean, nullable=False, comment="whether it is handed out, unless it is a gold question"),
    Column("rank", Float, nullable=False, comment="lower comes first: less the priority"),
    Column("shuffle", Float, nullable=False, comment="random order among equals"),
    Column("held_weak", Integer, nullable=False, comment="judged or being judged"),
    Column("held_expert", Integer, nullable=False),
    Index("next_for_weak", "gold", "served", "rank", "held_weak", "shuffle"),
    Index("next_for_expert", "gold", "served", "rank", "held_expert", "shuffle"),
)

assignments = Table(
    "assignments",
    metadata,
    Column("id", String(22), primary_key=True, comment="random: what a form names"),
    Column("rater_id", ForeignKey("raters.id"), nullable=False),
    Column("pair_id", ForeignKey("pairs.id"), nullable=False),
    Column("shown", String(2), nullable=False, comment="ab: response_a stood first; ba: response_b did"),
    Column("state", String(8), nullable=False),
    Column("attempt", Integer, nullable=False, comment="raised by undo; with the id the key of a verdict"),
    Column("opened", Float, nullable=False, comment="seconds since 1970, when the page was handed out"),
    Column("settled", Float, comment="seconds since 1970, of the verdict or skip"),
    UniqueConstraint("rater_id", "pair_id", name="one_assignment_a_rater_and_pair"),
    CheckConstraint("state in ('open', 'judged', 'skipped', 'released')", name="known_state"),
)
Index(
    "one_open_assignment_a_rater",
    assignments.c.rater_id,
    unique=True,
    sqlite_where=assignments.c.state == "open",
    postgresql_where=assignments.c.state == "open",
)
Index("settled_of_rater", assignments.c.rater_id, assignments.c.settled)
Index(
    "open_since",
    assignments.c.opened,
    sqlite_where=assignments.c.state == "open",
    postgresql_where=assignments.c.state == "open",
)

verdicts = Table(
    "verdicts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("assignment_id", ForeignKey("assignments.id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("preference", String(4), nullable=False, comment="a, b, tie; or skip"),
    Column("confidence", Float),
    Column("client_seconds", Float, comment="the page in sight, by the browser"),
    Column("server_seconds", Float, nullable=False, comment="from handing out to verdict"),
    Column("why", Text),
    Column("at", Float, nullable=False, comment="seconds since 1970"),
    UniqueConstraint("assignment_id", "attempt", name="one_verdict_an_attempt"),
    CheckConstraint("preference in ('a', 'b', 'tie', 'skip')", name="known_preference"),
)


def connect(url: str) -> Engine:
    """An engine for a SQLAlchemy URL, or the path of a SQLite file. Raises ValueError for a URL of another kind."""
    if "://" not in url:
        url = f"sqlite:///{Path(url).expanduser().resolve()}"
    try:
        parts = make_url(url)
        if parts.drivername == "postgresql":
            parts = parts.set(drivername="postgresql+psycopg")
        if parts.get_backend_name() not in ("sqlite", "postgresql"):
            raise ValueError(f"--database: {parts.drivername} is not supported; use a file, or postgresql://...")
        remote = parts.get_backend_name() == "postgresql"
        engine = create_engine(parts, pool_size=CONNECTIONS, max_overflow=0, pool_pre_ping=remote)
    except (ArgumentError, NoSuchModuleError) as error:
        raise ValueError(
            f"--database: {error}; use the path of a SQLite file, or postgresql://user@host/name"
        ) from error
    except ModuleNotFoundError as error:
        raise ValueError(f"--database: PostgreSQL needs its driver ({error}): pip install 'psycopg[binary]'") from error
    if parts.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    # The driver would begin transactions by itself, only before the first write: too late to have read safely.
    connection.isolation_level = None
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        f"busy_timeout = {LOCK_SECONDS}000",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")


def create(engine: Engine, seed: int = 0) -> None:
    """Make the tables where they are missing. seed: of sides and order; the first call's stays, and so does the salt
    that it draws.

    Raises ValueError when the database cannot be opened, or holds another version's tables.
    """
    try:
        metadata.create_all(engine)
        with engine.execution_options(writes=True).begin() as connection:
            found = connection.execute(select(collection.c.schema)).scalar()
            if found is None:
                first = {"id": 1, "schema": SCHEMA, "seed": seed, "salt": secrets.token_hex(SALT_BYTES)}
                connection.execute(collection.insert().values(held_weak=0, held_expert=0, **first))
    except OperationalError as error:
        raise ValueError(f"--database: {engine.url!r} cannot be opened: {error.orig}") from error
    if found not in (None, SCHEMA):
        raise ValueError(f"--database: {engine.url!r} has tables of version {found}, this is {SCHEMA}; give another")


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that only reads: one state of the database, waiting for nobody."""
    if engine.dialect.name == "postgresql":
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    with engine.begin() as connection:
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that writes; one at a time, so that what it read still holds when it writes.

    SQLite locks the file, PostgreSQL the row of the collection. Threads of this process queue before that: SQLite's
    own waiting is polling with growing pauses, and whoever waits long waits longer.
    """
    with _QUEUE, engine.execution_options(writes=True).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(select(collection.c.id).with_for_update())
        yield connection
