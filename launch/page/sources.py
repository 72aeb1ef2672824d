"""Where the page's pairs come from: the finished `pairs` artifact of a run, or a JSONL file of pairs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sandwiching.configs.load import load
from sandwiching.configs.schema import TaskConfig
from sandwiching.launch.page.collect import share
from sandwiching.oversight.known_answers import with_answers, with_references
from sandwiching.tasks.columns import ColumnError, number, string
from sandwiching.tasks.pair_rows import PairRow, read_pair_rows
from sandwiching.tasks.readers import numbered_lines, parsed
from sandwiching.training.artifacts import read_manifest

DATABASE = "raters.sqlite"
ARTIFACT_FILE = "pairs.jsonl.gz"
"""What the stage `pairs` writes into its artifact."""


@dataclass(frozen=True, slots=True)
class Source:
    """Pairs to be judged; task: of the run they are from, None for a file's."""

    rows: list[PairRow]
    task: TaskConfig | None


def place(run: str) -> Path:
    """The folder of a run given by folder or name, or a file of pairs. Raises ValueError when there is neither."""
    for path in (Path(run), Path("runs") / run):
        if path.exists():
            return path
    raise ValueError(f"{run}: no run of this name in runs/, and no folder or file of pairs")


def default_database(run: str) -> str:
    """A SQLite file in the run's folder, or beside the file of pairs."""
    path = place(run)
    return str(path / DATABASE if path.is_dir() else path.with_name(f"{path.name}.{DATABASE}"))


def read_source(run: str, name: str | None = None) -> Source:
    """The pairs of a run or a file; name: of the pairs artifact, where a run has several.

    Raises ValueError when there are none, or several and no name; BrokenArtifact when the artifact is not whole.
    """
    path = place(run)
    if path.is_file():
        return Source(read_pair_rows(path), None)
    found = {link.name: link for link in sorted((path / "artifacts").glob("pairs*"))}
    if not found:
        raise ValueError(
            f"{path}: the run has no pairs yet; make them with `sandwich run CONFIG --only pairs`, or give a JSONL file"
        )
    if name is None and len(found) > 1:
        raise ValueError(f"{path}: the run has several sets of pairs; choose one by --pairs: {', '.join(found)}")
    if name is not None and name not in found:
        raise ValueError(f"--pairs: the run has no {name!r}; it has {', '.join(found)}")
    artifact = found[name or next(iter(found))]
    read_manifest(artifact, check_hashes=True)
    task = load(str(path / "config.yaml")).task
    return Source(with_references(task, read_pair_rows(artifact / ARTIFACT_FILE)), task)


def gold_questions(source: Source, file: Path | None, count: int) -> tuple[list[PairRow], list[PairRow]]:
    """(pairs to be judged, gold questions): from a file, or the `count` of the run's decided pairs that a hash draws.

    A pair is one or the other: what the answer is known of is not bought. Raises ValueError when there are none.
    """
    if file is not None:
        gold = read_pair_rows(file)
    elif source.task is None:
        raise ValueError("--gold-rate: pairs from a file need a file of gold questions beside them: --gold FILE")
    else:
        decided = with_answers(source.task, source.rows)
        gold = sorted(decided, key=lambda row: share("gold question", row.pair.id))[:count]
    taken = {row.pair.id for row in gold}
    return [row for row in source.rows if row.pair.id not in taken], gold


def read_priorities(path: Path) -> dict[str, float]:
    """`{"pair": id, "priority": number}` a line. Raises ValueError naming file, line and column."""
    if not path.is_file():
        raise ValueError(f"--priority: {path} does not exist")
    found: dict[str, float] = {}
    for line, raw in numbered_lines(path):
        try:
            row = parsed(raw)
            value = number(row, "priority")
            if value is None:
                raise ColumnError("priority", "missing; add a number, higher comes first")
            found[string(row, "pair")] = value
        except ColumnError as error:
            raise ValueError(f"--priority: {path}:{line}: {error}") from error
    if not found:
        raise ValueError(f"--priority: {path} is empty")
    return found
