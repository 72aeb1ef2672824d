"""What a process that scores is given: paths and plain values, as one JSON file. No gold, no raters, nothing to train.

Shapes: N prompts, J samples of a prompt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sandwiching.configs.schema import LoraConfig, ModelConfig
from sandwiching.tasks.records import Text


@dataclass(frozen=True, slots=True)
class PolicyRun:
    """One PPO run and what its monitors are fitted to.

    start: folder of the model it began with; members: of its reward models, which learned from the judgements in `own`
    but for dev_share of the prompts, by `seed`; weak, expert: judgements of training pairs, where there are any.
    """

    name: str
    start: str
    members: tuple[str, ...]
    own: str
    weak: str | None
    expert: str | None
    dev_share: float
    seed: int
    combine: str
    uwo_lambda: float


@dataclass(frozen=True, slots=True)
class Answered:
    """What one checkpoint of a run answered: responses and finished (ended by end-of-text) [N][J].

    weights: folder of the snapshot; None: the model that the run began with.
    """

    updates: int
    weights: str | None
    responses: list[list[str]]
    finished: list[list[bool]]


@dataclass(frozen=True, slots=True)
class Settings:
    """How texts are read. model: as the run's; micro_batch: texts at once; fit_texts: see MonitorConfig."""

    model: ModelConfig
    fit_texts: int
    micro_batch: int
    threads: int


@dataclass(frozen=True, slots=True)
class Job:
    """The checkpoints of a run, to be scored: a file of its own for each run in `out`. watched: never written to."""

    settings: Settings
    prompts: list[Text]
    runs: list[tuple[PolicyRun, list[Answered]]]
    watched: list[str]
    out: str

    def write(self, file: Path) -> None:
        """As JSON."""
        file.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, file: Path) -> Job:
        """What `write` wrote."""
        found = json.loads(file.read_text())
        runs = [
            (PolicyRun(**{**run, "members": tuple(run["members"])}), [Answered(**point) for point in points])
            for run, points in found["runs"]
        ]
        settings = Settings(**{**found["settings"], "model": _model(found["settings"]["model"])})
        return cls(settings, found["prompts"], runs, found["watched"], found["out"])


def _model(values: Mapping[str, Any]) -> ModelConfig:
    lora = values["lora"]
    return ModelConfig(**{**values, "lora": None if lora is None else LoraConfig(**lora)})


def judged_by(arms: Sequence[str], tiers: Mapping[str, str], arm: str, tier: str) -> str | None:
    """Whose judgements of training pairs a probe of `arm` is fitted to: its own if of that tier, else those of the
    first arm that is; None where no arm is."""
    return next((one for one in (arm, *arms) if tiers[one] == tier), None)
