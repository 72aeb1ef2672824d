"""Does anything that the policy was trained on know of the check? Its prompts, its raters, its experts' verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandwiching.oversight.overlap import overlaps, plain_text
from sandwiching.tasks.columns import prompt_id
from sandwiching.tasks.readers import read_judgements
from sandwiching.tasks.records import Demonstration, Prompt
from sandwiching.training.artifacts import Manifest
from sandwiching.training.lineage import of_stage
from sandwiching.training.reward_data import FILE

SHOWN = 3


@dataclass(frozen=True, slots=True)
class CheckSide:
    """What only the check may know: prompts of dev and final, and ids of those who judge in it and nowhere else."""

    prompts: Sequence[Prompt]
    raters: frozenset[str]


@dataclass(frozen=True, slots=True)
class TrainingSide:
    """What was trained on. raters: ids of weak arms' raters; texts: prompts and responses; expert_rows: judgements of
    experts, by weak arm's artifact that holds some."""

    prompts: Sequence[Prompt]
    raters: frozenset[str]
    texts: frozenset[str]
    expert_rows: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Traces:
    """Held-out prompts that were trained on, ids of check raters among training raters, training texts that contain
    such an id, and experts' rows in weak arms."""

    prompts: int
    raters: int
    texts: int
    rows: int

    @property
    def total(self) -> int:
        """All."""
        return self.prompts + self.raters + self.texts + self.rows


def traces(side: CheckSide, trained: TrainingSide, bound: float | None) -> Traces:
    """Count them; bound: as check.overlap."""
    # Nearly always none is there: one search of everything for each says so.
    everything = "\0".join(trained.texts)
    named = [rater for rater in side.raters if rater in everything]
    return Traces(
        prompts=len(overlaps(trained.prompts, side.prompts, 1.0 if bound is None else bound)),
        raters=len(side.raters & trained.raters),
        texts=sum(any(rater in text for rater in named) for text in trained.texts),
        rows=sum(trained.expert_rows.values()),
    )


def training_side(found: Mapping[Path, Manifest], demonstrations: Iterable[Demonstration]) -> TrainingSide:
    """From the artifacts that the checked ones were made from, and what SFT learned from."""
    prompts: dict[str, Prompt] = {}
    texts: set[str] = set()
    raters: set[str] = set()
    expert_rows: dict[str, int] = {}
    for path in of_stage(dict(found), "judgements"):
        weak_arm = found[path].inputs.get("tier") == "weak"
        rows = [row.judgement for row in read_judgements(path / FILE)]
        for one in rows:
            known = Prompt(prompt_id(one.prompt), one.prompt, str(one.group), "")
            prompts.setdefault(known.id, known)
            texts |= {plain_text(one.prompt), one.response_a, one.response_b}
        if weak_arm:
            raters |= {one.rater for one in rows}
            expert_rows[path.name] = sum(one.tier == "expert" for one in rows)
    for one in demonstrations:
        prompts.setdefault(prompt_id(one.prompt.text), one.prompt)
        texts |= {plain_text(one.prompt.text), one.response}
    return TrainingSide(list(prompts.values()), frozenset(raters), frozenset(texts), expert_rows)


def refuse_expert_rows(trained: TrainingSide) -> None:
    """Raise ValueError where a weak arm learned from experts: there would be nothing left to check it with."""
    found = {name: count for name, count in trained.expert_rows.items() if count}
    if found:
        shown = ", ".join(f"{name} ({count})" for name, count in list(found.items())[:SHOWN])
        raise ValueError(
            f"check: judgements of experts are among those that arms of tier weak were trained on: {shown}. Delete "
            "those artifacts, and give the experts' rows tier: expert in a file of their own"
        )
