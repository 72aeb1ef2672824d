"""Sweeps whose objective comes from experts: each trial is a look, and what the best one shows is corrected for the
choice. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sandwiching.configs.schema import Config
from sandwiching.configs.sweep_check import is_expert_metric
from sandwiching.launch.sweep.trials import TrialRecord
from sandwiching.oversight.expert_store import make_or_open, place_of, read_standing
from sandwiching.oversight.item_records import item_records
from sandwiching.oversight.selected_trials import selected_of
from sandwiching.training.artifacts import Store


def require_looks(config: Config, records: Sequence[TrialRecord], total: int, store: Store) -> None:
    """Raise ValueError unless the ledger has a look left for each trial that has not looked yet."""
    assert config.sweep is not None
    if not is_expert_metric(config.sweep.metric):
        return
    place = place_of(config.check.store, store.root)
    expert = make_or_open(place, config.check.looks, config.data.splits.salt)
    entries = expert.ledger.entries()
    names = {entry["name"] for entry in entries}
    needed = total - sum(bool(names & set(record.stages.values())) for record in records)
    left = max(0, (config.check.looks or expert.budget) - len(entries))
    if needed > left:
        raise ValueError(
            f"sweep.metric={config.sweep.metric}: each of {total} trials looks at the experts once, {needed} looks "
            f"more, and {place} has {left} left; lower sweep.trials, or use what training itself sees, as in ppo/score"
        )


def expert_outcome(
    config: Config, records: Sequence[TrialRecord], store: Store
) -> tuple[dict[str, Any] | None, list[str]]:
    """The best trial with its choice taken into account, and what the sweep's table says of its looks."""
    sweep = config.sweep
    assert sweep is not None
    if not is_expert_metric(sweep.metric):
        return None, []
    places = {record.number: _check_of(record, store) for record in records if record.state == "done"}
    notes = []
    for number, place in places.items():
        standing = read_standing(place)
        if standing is not None and not standing.valid:
            notes.append(f"trial {number}: {standing.sentence}")
    if len(places) < 2:
        return None, notes
    found = selected_of(
        [item_records(config.check.store, place).record() for place in places.values()],
        sweep.metric,
        largest=sweep.mode == "max",
        confidence=config.check.confidence,
    )
    trial = list(places)[found.best]
    return {**asdict(found), "trial": trial, "corrected": found.corrected, "sentence": found.sentence}, [
        found.sentence,
        *notes,
    ]


def _check_of(record: TrialRecord, store: Store) -> Path:
    return store.root / next(name for name in record.stages.values() if name.startswith("check-"))
