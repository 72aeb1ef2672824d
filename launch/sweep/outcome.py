"""What came out of a sweep: a table, sweep.json, best.yaml and plots. Torch-free."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sandwiching.configs.load import to_yaml
from sandwiching.configs.resolve import with_settings
from sandwiching.configs.schema import Config, SweepConfig
from sandwiching.configs.sweep_block import number_of_trials, parse_space
from sandwiching.launch.sweep.expert import expert_outcome
from sandwiching.launch.sweep.trials import TrialRecord, Trials
from sandwiching.training.artifacts import Store, write_atomic

COLOURS = {"done": "green", "pruned": "dim", "failed": "red", "interrupted": "yellow", "running": "cyan"}
FILE, BEST = "sweep.json", "best.yaml"


@dataclass(frozen=True, slots=True)
class Outcome:
    """sweep.json. trials: best first. best: number of the best finished trial, whose config best_config names."""

    name: str
    metric: str
    mode: str
    total: int
    params: list[str]
    trials: list[TrialRecord]
    best: int | None
    best_config: str | None
    plots: list[str]
    notes: list[str]
    selection: dict[str, Any] | None = None
    """Of a sweep by an expert result: the best with the choice taken into account."""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def ranked(records: Sequence[TrialRecord], mode: str) -> list[TrialRecord]:
    """Finished trials best first, then those that asha ended, then the others."""
    sign = -1.0 if mode == "max" else 1.0

    def place(record: TrialRecord) -> tuple[int, int, float, int]:
        group = {"done": 0, "pruned": 1}.get(record.state, 2)
        reached = -max(record.results, default=0) if group == 1 else 0
        return group, reached, sign * (record.value or 0.0) if group < 2 else 0.0, record.number

    return sorted(records, key=place)


def make_outcome(config: Config, records: Sequence[TrialRecord], run_dir: Path) -> Outcome:
    """The outcome of these trials so far; nothing is written."""
    sweep = config.sweep
    assert sweep is not None
    trials = ranked(records, sweep.mode)
    best = trials[0].number if trials and trials[0].state == "done" else None
    return Outcome(
        name=config.name,
        metric=sweep.metric,
        mode=sweep.mode,
        total=number_of_trials(sweep),
        params=[one.key for one in parse_space(sweep.space)],
        trials=trials,
        best=best,
        best_config=None if best is None else str(run_dir / BEST),
        plots=[],
        notes=[],
    )


def write_outcome(config: Config, records: Sequence[TrialRecord], run_dir: Path, store: Store) -> Outcome:
    """best.yaml, the plots and sweep.json."""
    selection, said = expert_outcome(config, records, store)
    outcome = replace(make_outcome(config, records, run_dir), selection=selection)
    with Trials(run_dir).alone():
        if outcome.best is not None:
            best = outcome.trials[0]
            tried = sum(record.state in ("done", "pruned") for record in records)
            chosen = replace(config.conditions, chosen_from=config.conditions.chosen_from * tried)
            named = replace(config, name=f"{config.name}-best", conditions=chosen)
            write_atomic(run_dir / BEST, to_yaml(with_settings(named, best.params, f"trial {best.number}")))
        if any(record.state in ("done", "pruned") for record in records):
            from sandwiching.launch.sweep.plots import write_plots

            assert config.sweep is not None
            plots, notes = write_plots(records, config.sweep, run_dir / "plots")
            outcome = replace(outcome, plots=[str(plot) for plot in plots], notes=notes)
        outcome = replace(outcome, notes=[*said, *outcome.notes])
        write_atomic(run_dir / FILE, json.dumps(outcome.as_json(), indent=1))
    return outcome


def read_outcome(run_dir: Path) -> dict[str, Any]:
    """sweep.json."""
    return json.loads((run_dir / FILE).read_text())


def begun_line(record: TrialRecord) -> str:
    """A trial's beginning in one line."""
    word = "goes on" if record.stages else "begins"
    return f"trial {record.number}  {word}  {_params(record)}"


def _is_wrong(record: TrialRecord) -> bool:
    """Whether its error is one, and not that it was asked to stop."""
    return record.state == "failed" or (record.state == "interrupted" and record.faults > 0)


def ended_line(record: TrialRecord, sweep: SweepConfig) -> str:
    """A trial's end in one line."""
    value = "" if record.value is None else f"{sweep.metric} {record.value:.4g}  "
    error = f"  {record.error}" if _is_wrong(record) else ""
    return f"trial {record.number}  {record.state}  {value}{record.seconds:.0f} s  {_params(record)}{error}"


def show_outcome(outcome: Outcome, console: Console) -> None:
    """Print the table, and where the files are."""
    console.print(_table(outcome))
    for note in outcome.notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    for record in outcome.trials:
        if record.error is not None and _is_wrong(record):
            text = f"trial {record.number}: {record.error}"
            console.print(text, style="red", markup=False, highlight=False, soft_wrap=True)
    if outcome.best_config is not None:
        console.print(f"best: sandwich run {outcome.best_config}", markup=False, highlight=False, soft_wrap=True)
    for plot in outcome.plots:
        console.print(f"plot: {plot}", markup=False, highlight=False, soft_wrap=True)


def _table(outcome: Outcome) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 2))
    shown = short_names(outcome.params)
    for column in ("trial", "state", "steps", outcome.metric, "seconds", *(shown[key] for key in outcome.params)):
        table.add_column(column, no_wrap=True)
    for record in outcome.trials:
        value = "" if record.value is None else f"{record.value:.4g}"
        table.add_row(
            str(record.number),
            Text(record.state, COLOURS[record.state]),
            str(max(record.results, default="")),
            value,
            f"{record.seconds:.0f}",
            *(_short(record.params.get(key)) for key in outcome.params),
        )
    return table


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """The last parts of each key that tell it from the others."""
    names = {}
    for key in keys:
        parts = key.split(".")
        for count in range(1, len(parts) + 1):
            names[key] = ".".join(parts[-count:])
            if sum(other.split(".")[-count:] == parts[-count:] for other in keys) == 1:
                break
    return names


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else json.dumps(value) if not isinstance(value, str) else value


def _params(record: TrialRecord) -> str:
    return "  ".join(f"{key}={_short(value)}" for key, value in record.params.items())
