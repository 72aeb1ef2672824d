"""`sandwich raters fit FILE`: the habits of real raters, as a population of simulated people.

sandwich raters fit judgements.jsonl.gz --output habits.yaml
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from sandwiching.configs.schema import PeopleKind
from sandwiching.launch.arguments import AsJson

if TYPE_CHECKING:
    from sandwiching.tasks.people_fit import Fit
    from sandwiching.tasks.records import Judgement
    from sandwiching.tasks.votes import Statistic, Votes

KIND = "fitted"
DIGITS = 4
PIPED_WIDTH = 140
NEVER = 1e-4
"""Least lapse, spread, appeal and band that are written."""


def fit_command(
    file: Annotated[Path, typer.Argument(help="Judgements: JSONL (gzip allowed), or a saved dataset's folder.")],
    output: Annotated[Path | None, typer.Option(help="Write the population here, as YAML.")] = None,
    tier: Annotated[str, typer.Option(help="Whose habits: weak or expert.")] = "weak",
    truth: Annotated[str, typer.Option(help="Whose majority competence goes by: expert or none.")] = "expert",
    schema: Annotated[str, typer.Option("--format", help="As data.format.")] = "judgements",
    confidence: Annotated[float, typer.Option(help="Level of the intervals.", min=0.5, max=0.9999)] = 0.95,
    seed: Annotated[int, typer.Option(help="Of the simulated crowd.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Estimate the habits of real raters (length, position, confident words, ties, lapses, how much they differ), write
    them as a population of simulated people, and show both crowds side by side."""
    from sandwiching.reward_model.reliability.student_t import t_critical
    from sandwiching.tasks.file_people import majority_truth
    from sandwiching.tasks.people_fit import fit_habits
    from sandwiching.tasks.readers import read_judgements
    from sandwiching.tasks.votes import habits_table, votes_of

    _one_of("--tier", tier, ("weak", "expert"))
    _one_of("--truth", truth, ("expert", "none"))
    judgements = [row.judgement for row in read_judgements(file, schema, tier=tier, rater="unknown")]
    known = majority_truth(one for one in judgements if one.tier == truth != tier)
    votes = votes_of(_of_tier(judgements, tier, file), known)
    critical = t_critical(confidence, max(1, len(votes.groups) - 1))
    with Console(stderr=True).status(f"fitting {votes.votes} votes on {len(votes.pairs)} pairs"):
        found = fit_habits(votes, critical, seed)
        kind = population_of(found)
        crowd = simulated_crowd(votes, kind, known, seed)
    tables = habits_table(votes, critical), habits_table(crowd, critical)
    text = as_yaml(kind, found, file.name, confidence)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text)
    if as_json:
        typer.echo(json.dumps(as_plain(found, tables, text), indent=1))
    else:
        show(found, tables, confidence)
        typer.echo(f"\nwritten to {output}" if output is not None else f"\n{text}", nl=output is not None)


def _one_of(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{option}: {value!r} is unknown; use one of {', '.join(choices)}")


def _of_tier(judgements: list[Judgement], tier: str, file: Path) -> list[Judgement]:
    found = [one for one in judgements if one.tier == tier]
    if not found:
        raise ValueError(f"{file}: holds no judgement of tier {tier}; set --tier")
    return found


def population_of(fit: Fit) -> PeopleKind:
    """One kind of people with the fitted habits."""
    values = {name: round(one.value, DIGITS) for name, one in fit.habits.items()}
    for name in ("lapse", "ability_spread", "appeal", "tie_band"):
        if values.get(name, 1.0) < NEVER:
            values[name] = 0.0
    return PeopleKind(share=1.0, **values)  # pyright: ignore[reportArgumentType]


def simulated_crowd(votes: Votes, kind: PeopleKind, truth: Any, seed: int) -> Votes:
    """The same pairs, each judged by as many simulated people as judged it, in the places of the real ones."""
    import numpy as np

    from sandwiching.tasks.file_people import file_people
    from sandwiching.tasks.records import Pair

    people = file_people({KIND: kind}, len(votes.raters), truth, seed, list(votes.raters))
    outcomes = []
    for rater, place, side in zip(votes.rater_V, votes.pair_V, votes.side_V, strict=True):
        pair = votes.pairs[place]
        one, other = sorted((pair.response_a, pair.response_b))
        a, b = (one, other) if side > 0 else (other, one)
        verdict = people[rater].judge(Pair(pair.id, pair.prompt, a, b)).preference
        outcomes.append({"a": side, "b": -side, "tie": 0}[verdict])
    return votes.with_outcomes(np.array(outcomes))


def as_yaml(kind: PeopleKind, fit: Fit, source: str, confidence: float) -> str:
    """A config to extend: `extends: habits.yaml`."""
    lines = [
        f"# Habits of {fit.raters} raters: {fit.votes} votes on {fit.pairs} pairs of {source}, and {confidence:.0%}",
        f"# intervals over {fit.clusters} groups. Made by `sandwich raters fit`; use it by `extends:` in a config.",
        "task:",
        *(["  truth: expert"] if "competence" in fit.habits else []),
        "  population:",
        f"    {KIND}:",
        "      share: 1.0",
        *(
            f"      {name}: {getattr(kind, name):<8g} # {one.low:.3f} to {one.high:.3f}"
            for name, one in fit.habits.items()
        ),
        "judgements:",
        "  raters: simulated",
    ]
    return "\n".join(lines) + "\n"


def as_plain(fit: Fit, tables: tuple[dict[str, Statistic], dict[str, Statistic]], population: str) -> dict[str, Any]:
    """What --json prints."""
    sides = {
        name: {what: asdict(one) for what, one in table.items() if one.counted}
        for name, table in zip(("real", "simulated"), tables, strict=True)
    }
    return {**asdict(fit), **sides, "population": population}


def show(fit: Fit, tables: tuple[dict[str, Statistic], dict[str, Statistic]], confidence: float) -> None:
    """Both tables."""
    console = Console() if sys.stdout.isatty() else Console(width=PIPED_WIDTH)
    level = f"{confidence:.0%} interval"
    habits = Table("habit", "estimate", level, title=f"{fit.raters} raters, {fit.votes} votes on {fit.pairs} pairs")
    for name, one in fit.habits.items():
        habits.add_row(name, f"{one.value:.3f}", f"{one.low:.3f} to {one.high:.3f}")
    console.print(habits)
    crowds = Table("how they judge", "real", level, "simulated", title="Real and simulated people on the same pairs")
    for (name, real), simulated in zip(tables[0].items(), tables[1].values(), strict=True):
        if real.counted:
            limits = f"{real.low:.4f} to {real.high:.4f}"
            crowds.add_row(name, f"{real.estimate:.4f}", limits, f"{simulated.estimate:.4f}")
    console.print(crowds)
