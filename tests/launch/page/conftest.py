"""A database for the page: SQLite always, and PostgreSQL under its marker; a server of its own, ended by its pid."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from sandwiching.launch.page.answers import judge, screen
from sandwiching.launch.page.collect import add_pairs, invite
from sandwiching.launch.page.records import Choice, Question, Screen, Terms, Undoable, Verdict
from sandwiching.launch.page.tables import assignments, connect, create, pairs, raters, reading, verdicts
from sandwiching.launch.page.tables import collection as collection_table
from sandwiching.tasks.pair_rows import PairRow
from sandwiching.tasks.records import Pair, Prompt

HIDDEN = ("SECRET SOURCE", "SECRET REFERENCE")
"""What no weak rater may ever be sent."""


def pair_row(number: int, answer=None, kind: str = "pair") -> PairRow:
    prompt = Prompt(f"q{number}", f"{kind} {number}?", f"group-{number % 3}", "sums")
    pair = Pair(f"{kind}/{number}", prompt, f"short {kind} {number}", f"long {kind} {number}, as everybody knows")
    return PairRow(pair, source=HIDDEN[0], references=(HIDDEN[1],), answer=answer, finished_b=number % 2 == 0)


def pair_rows(count: int) -> list[PairRow]:
    return [pair_row(number) for number in range(count)]


def gold_rows(count: int) -> list[PairRow]:
    return [pair_row(number, "a", "gold") for number in range(count)]


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server of this session, without a database in it."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    assert found, "no PostgreSQL here: `make test-browser` installs it"
    # Not among pytest's folders, which are for root alone: PostgreSQL refuses to run as root.
    root = Path(tempfile.mkdtemp(prefix="postgres-"))
    as_user: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(root, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]

    def run(tool: str, *arguments: str) -> None:
        subprocess.run([*as_user, str(found[-1] / tool), *arguments], check=True, capture_output=True, cwd=root)

    data, options = str(root / "data"), f"-c listen_addresses='' -c unix_socket_directories={root}"
    run("initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync")
    run("pg_ctl", "-D", data, "-w", "-o", options, "-l", str(root / "log"), "start")
    yield f"postgresql://postgres@/{{name}}?host={root}"
    run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    shutil.rmtree(root)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind."""
    if request.param == "sqlite":
        return str(tmp_path / "raters.sqlite")
    server, name = request.getfixturevalue("postgres"), f"d{os.getpid()}_{abs(hash(tmp_path))}"
    engine = connect(server.format(name="postgres")).execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return server.format(name=name)


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    """The database with its tables."""
    engine = connect(database)
    create(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def collection(engine: Engine) -> Callable[..., tuple[Engine, dict[str, str]]]:
    """Pairs, gold questions and raters (name -> secret); names that begin with `expert` are experts."""

    def make(pairs: int, *names: str, gold: int = 0) -> tuple[Engine, dict[str, str]]:
        add_pairs(engine, pair_rows(pairs), gold=False)
        add_pairs(engine, gold_rows(gold), gold=True)
        tiers = {name: "expert" if name.startswith("expert") else "weak" for name in names}
        return engine, {name: invite(engine, name, tier) for name, tier in tiers.items()}

    return make


@dataclass
class Desk:
    """Raters at a database, without HTTP; every act is a second later than the one before."""

    engine: Engine
    terms: Terms = field(default_factory=lambda: Terms(labels_per_pair=2))
    clock: count = field(default_factory=lambda: count(1_000))

    def now(self) -> int:
        return next(self.clock)

    def look(self, secret: str, terms: Terms | None = None) -> Screen:
        return screen(self.engine, secret, terms or self.terms, 10, self.now())

    def asked(self, secret: str, terms: Terms | None = None) -> Question:
        question = self.look(secret, terms).question
        assert question is not None
        return question

    def last(self, secret: str) -> Undoable:
        undoable = self.look(secret).undoable
        assert undoable is not None
        return undoable

    def say(self, secret: str, question: Question, choice: Choice = "first", terms: Terms | None = None) -> bool:
        said = Verdict(choice, 0.75, 2.0, "because")
        return judge(self.engine, secret, question.key, question.attempt, said, terms or self.terms, self.now())

    def check_books(self) -> None:
        """Counters are what the rows say; nobody has two open pairs; each settled assignment has its verdict."""
        with reading(self.engine) as connection:
            wanted = select(assignments, pairs.c.gold, raters.c.tier).join(pairs).join(raters)
            states = connection.execute(wanted).all()
            counts = connection.execute(select(pairs.c.id, pairs.c.held_weak, pairs.c.held_expert)).all()
            total = connection.execute(select(collection_table.c.held_weak, collection_table.c.held_expert)).one()
            said = {(row.assignment_id, row.attempt): row.preference for row in connection.execute(select(verdicts))}
        for tier, position in (("weak", 0), ("expert", 1)):
            held = [row for row in states if row.state in ("open", "judged") and row.tier == tier]
            taken = Counter(row.pair_id for row in held)
            assert {row[0]: row[1 + position] for row in counts if row[1 + position]} == dict(taken)
            assert total[position] == sum(not row.gold for row in held)
        assert max(Counter(row.rater_id for row in states if row.state == "open").values(), default=0) <= 1
        for row in states:
            stands = said.get((row.id, row.attempt))
            right = {"judged": stands in ("a", "b", "tie"), "skipped": stands == "skip"}
            assert right.get(row.state, stands is None)


@pytest.fixture
def desk(engine: Engine) -> Desk:
    """Raters at the database of this test."""
    return Desk(engine)
