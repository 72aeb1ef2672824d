"""Blocks about tasks and data. Importing this module never imports torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING

from sandwiching.configs.keyed import JUDGING, UNLESS_DEFAULT
from sandwiching.configs.people_block import PeopleKind


@dataclass(kw_only=True)
class TaskConfig:
    """What every task has."""

    name: str = MISSING
    """Which task: a key of TASKS below."""


@dataclass(kw_only=True)
class CapitalsTask(TaskConfig):
    """Facts of GeoNames, judged by simulated people (tasks/capitals.py)."""

    kinds: list[str] = field(default_factory=lambda: ["capital", "country_of_capital", "currency", "neighbour"])
    """Kinds of fact that are asked for."""
    min_population: int = 500_000
    """Countries below it are left out."""
    max_prompts: int | None = None
    """Keep only so many prompts a split, chosen by hash; null keeps all."""
    raters: int = 40
    """Simulated people in the training panel of each tier."""
    check_raters: int = 20
    """Simulated people who judge only in the check."""
    demonstrators: int = 1
    """People of the weak training panel who write an answer to each training prompt."""
    competence: float = 0.3
    """Mean probability that a weak person knows the answer to a question."""
    population_slope: float = 3.0
    """Log-odds of knowing a country that a tenfold population adds."""
    ability_spread: float = 0.7
    """Standard deviation between people of the log-odds of knowing."""
    misconception: float = 0.8
    """Probability that a weak person who does not know takes the more familiar name for right; else surface decides."""
    length_bias: float = 0.5
    """Log-odds a word that the longer response gains with a weak person who does not know."""
    confidence_bias: float = 1.0
    """Log-odds that confident wording gains with a weak person who does not know."""
    lapse: float = 0.05
    """Probability that anybody clicks at random."""
    population: dict[str, PeopleKind] = field(default_factory=dict, metadata=UNLESS_DEFAULT)
    """Kinds of weak people who differ from the above, by name; the rest of the panel is as above."""


@dataclass(kw_only=True)
class JudgementsTask(TaskConfig):
    """Any file of judgements (`data.judgements`)."""

    population: dict[str, PeopleKind] = field(default_factory=dict, metadata=UNLESS_DEFAULT)
    """Kinds of simulated people who judge the file's pairs anew under judgements.raters: simulated."""
    raters: int = field(default=40, metadata=UNLESS_DEFAULT)
    """How many simulated people."""
    truth: str = field(default="none", metadata=UNLESS_DEFAULT)
    """Whose majority verdict their competence goes by: expert, weak, or none."""


@dataclass(kw_only=True)
class PlantedTask(TaskConfig):
    """A made-up world, of which the base model is taught a known part (tasks/planted.py, docs/planted.md)."""

    kinds: list[str] = field(default_factory=lambda: ["metal", "colour", "tree"])
    """Kinds of fact that are asked for, one of each a town."""
    towns: int = 200
    """How many towns the world has."""
    planted: float = 0.9
    """Share of the facts that the base model is taught; of the others it only learns what people say."""
    max_prompts: int | None = None
    """Keep only so many prompts a split, chosen by hash; null keeps all."""
    population_slope: float = 2.0
    """Log-odds of knowing a town that a tenfold population adds."""
    ability_spread: float = 0.7
    """Standard deviation between people of the log-odds of knowing."""
    writers_competence: float = 0.3
    """Mean probability that a person who writes demonstrations knows; the others write what people say."""
    raters: int = 40
    """Simulated people in the training panel of each tier."""
    check_raters: int = 40
    """Simulated people who judge only in the check."""
    competence: float = field(default=0.3, metadata=JUDGING)
    """Mean probability that a weak person who judges knows the answer to a question."""
    misconception: float = field(default=0.0, metadata=JUDGING)
    """Probability that a weak person who does not know takes what people say for right; else surface decides."""
    length_bias: float = field(default=0.0, metadata=JUDGING)
    """Log-odds a word that the longer response gains with a weak person who does not know."""
    confidence_bias: float = field(default=0.0, metadata=JUDGING)
    """Log-odds that confident wording gains with a weak person who does not know."""
    lapse: float = field(default=0.05, metadata=JUDGING)
    """Probability that anybody clicks at random."""
    population: dict[str, PeopleKind] = field(default_factory=dict, metadata=JUDGING)
    """Kinds of weak people who differ from the above, by name; the rest of the panel is as above."""
    panel: int = field(default=0, metadata=JUDGING)
    """Which draw of the weak people who judge: another number, other people of the same kinds."""


TASKS: dict[str, type[TaskConfig]] = {
    "capitals": CapitalsTask,
    "judgements": JudgementsTask,
    "planted": PlantedTask,
}


@dataclass(kw_only=True)
class SplitsConfig:
    """Shares of the groups, by rank of sha256(salt, group); the rest is the training split."""

    dev: float = 0.15
    """Curves and tuning; looks are counted."""
    final: float = 0.35
    """Claims."""
    salt: str = "sandwiching"
    """Fixes the split."""
    dev_groups: list[str] | None = None
    """Explicit groups of the dev split, instead of a share."""
    final_groups: list[str] | None = None
    """Explicit groups of the final split, instead of a share."""


@dataclass(kw_only=True)
class DataConfig:
    """Judgements and the three-way hold-out."""

    judgements: str | None = None
    """JSONL of judgements (gzip allowed), or a folder of a saved Hugging Face dataset."""
    format: str = "judgements"
    """judgements, trl, summarize_from_feedback or multipref."""
    holdout: str = "group"
    """The column to hold out by: group, or prompt."""
    splits: SplitsConfig = field(default_factory=SplitsConfig)
    """The three-way split."""
    tier: str | None = None
    """Tier of rows whose schema has none."""
    rater: str | None = None
    """Rater of rows whose schema has none."""
    skip_bad_rows: bool = False
    """Write rejected rows beside the run and go on, instead of failing."""
    too_long: str = "error"
    """Rows longer than model.max_length: error or drop."""
