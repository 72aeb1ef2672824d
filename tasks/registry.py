"""Tasks by config. Importing this module never imports torch."""

from __future__ import annotations

from pathlib import Path

from sandwiching.configs.schema import CapitalsTask, DataConfig, JudgementsTask, PlantedTask, TaskConfig
from sandwiching.tasks import geonames
from sandwiching.tasks.capitals import Capitals
from sandwiching.tasks.judgements import JudgementsFile
from sandwiching.tasks.planted import Planted
from sandwiching.tasks.planted_world import VERSION
from sandwiching.tasks.readers import file_fingerprint
from sandwiching.tasks.records import Task


def make_task(task: TaskConfig, data: DataConfig, seed: int, rejected: Path | None = None) -> Task:
    """The task of a config; rejected: where bad rows of its file go under data.skip_bad_rows.

    Raises ValueError for a config that fits no task, bad data, or an empty split.
    """
    if isinstance(task, CapitalsTask):
        return Capitals(task, data, seed)
    if isinstance(task, JudgementsTask):
        return JudgementsFile(task, data, seed, rejected)
    if isinstance(task, PlantedTask):
        return Planted(task, data, seed)
    raise ValueError(f"task.name: no task {task.name!r}; use capitals, judgements or planted")


def fingerprint(task: TaskConfig, data: DataConfig) -> str:
    """What the task's data is: of GeoNames its version and corrections, of a file its bytes, of a made-up world the
    version of what makes it.

    Raises ValueError when the file does not exist.
    """
    if isinstance(task, CapitalsTask):
        return geonames.fingerprint()
    if isinstance(task, PlantedTask):
        return f"planted-world-{VERSION}"
    if data.judgements is None:
        raise ValueError(f"data.judgements: task {task.name} needs a file of judgements")
    return f"sha256-{file_fingerprint(data.judgements)}"
