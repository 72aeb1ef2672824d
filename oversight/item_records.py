"""What a check found item by item: it stays in the expert store, and only aggregates go into the artifact.

    <check.store>/items/<artifact>/record.json   prompts, answers, grades, approvals, scores (check.py, reward_check.py)
                                   trails.json   the same of dev prompts along PPO's snapshots (trails.py)
                                   parts/        what an unfinished check has asked already

check.json remembers their hashes, so that no analysis takes another check's items for its own. Torch-free.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from sandwiching.oversight.expert_store import open_store, place_of
from sandwiching.tasks.sealed import refuse_training
from sandwiching.training.artifacts import write_atomic

CHECK_FILE, RECORD, TRAILS = "check.json", "record.json", "trails.json"
SEALED = "sealed"
"""In check.json: the files of items, by name, with their sha256."""


@dataclass(frozen=True, slots=True)
class ItemRecords:
    """The items of one check. folder: in the expert store; artifact: the check's. Raises Sealed where training is at
    work."""

    folder: Path
    artifact: Path

    def __post_init__(self) -> None:
        refuse_training(f"the items of a check, {self.folder}")

    @property
    def parts(self) -> Path:
        """For what an unfinished check has asked; see done."""
        return self.folder / "parts"

    def write(self, name: str, value: Mapping[str, Any]) -> str:
        """Keep RECORD or TRAILS; returns its sha256, for check.json."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(value)
        write_atomic(self.folder / name, text)
        return sha256(text.encode()).hexdigest()

    def done(self) -> None:
        """The check is complete: its parts are in the record, and a check that is made anew asks anew."""
        shutil.rmtree(self.parts, ignore_errors=True)

    def aggregates(self) -> dict[str, Any]:
        """check.json."""
        return json.loads((self.artifact / CHECK_FILE).read_text())

    def record(self) -> dict[str, Any]:
        """check.json with its items. Raises ValueError where they are not here, or another check's."""
        return {**self.aggregates(), **self._read(RECORD)}

    def trails(self) -> dict[str, Any]:
        """Along PPO's snapshots. Raises ValueError as record does, and where the check asked no policy."""
        return self._read(TRAILS)

    def _read(self, name: str) -> dict[str, Any]:
        known, file = self.aggregates().get(SEALED, {}), self.folder / name
        refuse_training(str(file))
        if name not in known:
            raise ValueError(f"{self.artifact} has no {name}: nothing of that kind was asked in its check")
        if not file.exists():
            raise ValueError(
                f"{file} does not exist: what a check found item by item stays in the expert store that it was made "
                f"with; give check.store that folder, or delete {self.artifact} to check again"
            )
        text = file.read_text()
        if sha256(text.encode()).hexdigest() != known[name]:
            raise ValueError(
                f"{file} is not what {self.artifact / CHECK_FILE} was made of: it was edited, or made by another run "
                f"of this check; delete {self.artifact} to check again"
            )
        return json.loads(text)


def item_records(setting: str | None, artifact: Path) -> ItemRecords:
    """Of a finished check. setting: check.store. Raises ValueError when there is no such store, Sealed in training."""
    artifact = artifact.resolve()
    store = open_store(place_of(setting, artifact.parent))
    return ItemRecords(store.items(artifact.name), artifact)
