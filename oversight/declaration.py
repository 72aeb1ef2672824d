"""When the conditions of a check were declared: written where its artifact will lie, once, as the run begins."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sandwiching.configs.schema import ConditionsConfig

FILE = "declared.json"
CONDITIONS_FILE = "conditions.json"
"""What the check found of them, in its artifact."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """declared.json. trained: how many of the `of` policies (or reward models) that are checked were finished then."""

    run: str
    time: str
    conditions: dict[str, Any]
    trained: int
    of: int

    @property
    def when(self) -> str:
        """In words."""
        if self.trained == 0:
            return "before training"
        done = "all" if self.trained == self.of else f"{self.trained} of {self.of}"
        return f"before the check, when {done} of what it checks had been trained"

    def changed(self, now: ConditionsConfig) -> dict[str, tuple[Any, Any]]:
        """Bounds that are others now than were declared: name -> (declared, now)."""
        present = asdict(now)
        return {
            name: (self.conditions.get(name), value)
            for name, value in present.items()
            if self.conditions.get(name) != value
        }

    def sentence(self, now: ConditionsConfig) -> str:
        """When they were declared, and what was changed since."""
        changed = ", ".join(f"{name} {old} -> {new}" for name, (old, new) in self.changed(now).items())
        return f"Declared {self.when}" + (f"; declared after, when the run had begun: {changed}." if changed else ".")


def declare(folder: Path, run: str, conditions: ConditionsConfig, checked: Sequence[bool]) -> Declaration:
    """The declaration in the folder of a check's artifact, written now if there is none.

    checked: of each policy or reward model that is checked, whether it is trained already.
    """
    file = folder / FILE
    if not file.exists():
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        made = Declaration(run, now, asdict(conditions), sum(checked), len(checked))
        folder.mkdir(parents=True, exist_ok=True)
        # Two runs with the same check may begin at once: the first one's stands.
        temporary = folder / f".{FILE}.{os.getpid()}"
        temporary.write_text(json.dumps(asdict(made), indent=1))
        with suppress(FileExistsError):
            os.link(temporary, file)
        temporary.unlink()
    return declared_in(folder)


def declared_in(folder: Path) -> Declaration:
    """The declaration in the folder of a check's artifact."""
    return Declaration(**json.loads((folder / FILE).read_text()))
