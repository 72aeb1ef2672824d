"""metrics.jsonl: one JSON object a step. Keys are defined in docs/metrics.md; wall-clock fields begin with time/."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandwiching.training.artifacts import write_atomic


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All whole records; a last line that a crash cut short is left out."""
    if not path.exists():
        return []
    records = []
    for line in path.read_text().splitlines(keepends=True):
        if line.endswith("\n"):
            records.append(json.loads(line))
    return records


def finite(value: Any) -> Any:
    """The value with null for numbers that JSON cannot say (NaN, infinity), inside dicts and sequences too."""
    if isinstance(value, Mapping):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class MetricsLog:
    """Appends records to metrics.jsonl, each flushed; `cut` takes back what a resume will write again."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def cut(self, step: int) -> None:
        """Drop records past `step`, the step of the checkpoint that is resumed from (0: from the start)."""
        if self.path.exists():
            kept = [record for record in read_metrics(self.path) if record["step"] <= step]
            write_atomic(self.path, "".join(json.dumps(record) + "\n" for record in kept))

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record, which must have `step`.

        Raises FloatingPointError when a number is not finite, which is written as null: a run that diverged must not go
        on silently.
        """
        bad = [key for key, value in record.items() if isinstance(value, float) and not math.isfinite(value)]
        with self.path.open("a") as stream:
            stream.write(json.dumps(finite(record)) + "\n")
        if bad:
            raise FloatingPointError(f"step {record['step']}: {', '.join(bad)} not finite (see {self.path})")
