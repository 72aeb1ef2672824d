"""Where the page's pairs come from: a finished `pairs` or `choice` artifact of a run, or a JSONL file of pairs."""

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
"""What the stages `pairs` and `choice` write into their artifacts."""


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
    """The pairs of a run or a file; name: of the pairs or choice artifact, where a run has several.

    Raises ValueError when there are none, or several and no name; BrokenArtifact when the artifact is not whole.
    """
    path = place(run)
    if path.is_file():
        return Source(read_pair_rows(path), None)
    task = load(str(path / "config.yaml")).task
    return Source(with_references(task, _artifact_rows(path, name)), task)


def pair_ids(run: str, name: str) -> set[str]:
    """Ids of the pairs of one of a run's artifacts. Raises as read_source."""
    path = place(run)
    if path.is_file():
        raise ValueError(f"--pairs: {path} is one file of pairs, and no run that has several sets; leave it out")
    return {row.pair.id for row in _artifact_rows(path, name)}


def _artifact_rows(run: Path, name: str | None) -> list[PairRow]:
    """Without a name: what the run's only choice of pairs holds, or else its only pairs."""
    kinds = [sorted((run / "artifacts").glob(f"{stage}*")) for stage in ("choice", "pairs")]
    found = {link.name: link for links in kinds for link in links}
    if not found:
        raise ValueError(
            f"{run}: the run has no pairs yet; make them with `sandwich run CONFIG --only pairs`, or give a JSONL file"
        )
    asked = kinds[0] or kinds[1]
    if name is None and len(asked) > 1:
        raise ValueError(f"{run}: the run has several sets of pairs; choose one by --pairs: {', '.join(found)}")
    if name is not None and name not in found:
        raise ValueError(f"--pairs: the run has no {name!r}; it has {', '.join(found)}")
    artifact = found[name or asked[0].name]
    read_manifest(artifact, check_hashes=True)
    return read_pair_rows(artifact / ARTIFACT_FILE)


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
