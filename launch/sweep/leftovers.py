"""What trials leave that nobody needs: checkpoints of those that asha ended, which no trial goes on from."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from sandwiching.configs.schema import ResourcesConfig
from sandwiching.launch.sweep.trials import TrialRecord
from sandwiching.training.artifacts import Store
from sandwiching.training.checkpoints import prune


class AtWork(Exception):
    """Somebody holds an artifact's lock."""


def delete_leftovers(records: Iterable[TrialRecord], store: Store, resources: ResourcesConfig) -> None:
    """Keep as many checkpoints of ended trials as of finished ones (resources.keep_finished).

    What another trial or run with the same settings works on is left alone.
    """
    for name in {name for record in records if record.state == "pruned" for name in record.stages.values()}:
        stage, _, key = name.rpartition("-")
        found = any((store.root / name / "checkpoints").glob("step_*"))
        if not found or store.state(stage, key) != "resume":
            continue
        with suppress(AtWork), store.claim(stage, key, lambda line: None, refuse_to_wait) as folder:
            prune(folder.checkpoints, resources.keep_finished, resources.keep_best)


def refuse_to_wait() -> None:
    """For Store.claim. Raises AtWork."""
    raise AtWork
