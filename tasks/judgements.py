"""The task `judgements`: any file of judgements that people gave, held out by its groups or by its prompts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from sandwiching.configs.schema import DataConfig, JudgementsTask
from sandwiching.tasks.columns import pair_id, prompt_id
from sandwiching.tasks.file_people import file_people, majority_truth
from sandwiching.tasks.readers import read_judgements
from sandwiching.tasks.records import Demonstration, Judgement, Pair, Prompt, Rater, Split, Tier
from sandwiching.tasks.schemas import JudgementRow
from sandwiching.tasks.splits import split_prompts

KIND = "judgements"


class JudgementsFile:
    """Task on the prompts of a file; `rows` are its judgements, each with its group: of weak raters all, of experts
    those of the training split (judgements_gold.py has the others)."""

    def __init__(self, task: JudgementsTask, data: DataConfig, seed: int, rejected: Path | None = None) -> None:
        self.task = task
        self.data = data
        self.seed = seed
        self.rejected = rejected
        rows = read_rows(data, rejected)
        prompts = _prompts([row.judgement for row in rows])
        self._prompts = split_prompts(prompts, data.splits)
        trained = {prompt.group for prompt in self._prompts["train"]}
        self.rows = [row for row in rows if row.judgement.tier == "weak" or str(row.judgement.group) in trained]

    def prompts(self, split: Split) -> list[Prompt]:
        """Prompts of a split, in the file's order."""
        return list(self._prompts[split])

    def judged(self, split: Split) -> list[JudgementRow]:
        """Judgements on the prompts of a split, without what experts said of held-out ones."""
        groups = {prompt.group for prompt in self._prompts[split]}
        return [row for row in self.rows if row.judgement.group in groups]

    def training_judgements(self, tier: Tier) -> list[JudgementRow]:
        """Judgements of a tier on the training prompts. Raises ValueError when there are none."""
        found = [row for row in self.judged("train") if row.judgement.tier == tier]
        if not found:
            raise ValueError(
                f"no {tier} judgements for the training split: check data.judgements, data.splits and arms"
            )
        return found

    def training_pairs(self) -> list[tuple[Pair, bool, bool]]:
        """Each pair of training responses that weak raters compared, once: (pair, finished_a, finished_b).

        Raises ValueError when there are none.
        """
        found: dict[tuple[str, str, str], tuple[Pair, bool, bool]] = {}
        for row in self.training_judgements("weak"):
            judgement = row.judgement
            name = prompt_id(judgement.prompt)
            one, other = sorted((judgement.response_a, judgement.response_b))
            if one == other or (name, one, other) in found:
                continue
            prompt = Prompt(name, judgement.prompt, str(judgement.group), KIND)
            pair = Pair(pair_id(name, one, other), prompt, judgement.response_a, judgement.response_b)
            found[name, one, other] = (pair, row.finished_a, row.finished_b)
        return list(found.values())

    def demonstrations(self) -> list[Demonstration]:
        """Responses to training prompts that the weak majority prefers in more pairs than it rejects them."""
        weak = [row for row in self.rows if row.judgement.tier == "weak"]
        standing = _standing([row.judgement for row in weak])
        ended = {(prompt_id(row.judgement.prompt), text) for row in weak for text in _finished(row)}
        return [
            Demonstration(prompt, response)
            for prompt in self._prompts["train"]
            for response, wins in standing.get(prompt.id, {}).items()
            if wins > 0 and (prompt.id, response) in ended
        ]

    def weak_raters(self, panel: Literal["training", "check"]) -> Sequence[Rater]:
        """Simulated people of task.population, who may judge the file's pairs anew.

        Raises ValueError without one: the raters of a file are people, who cannot be asked again from here.
        """
        if self.task.population and panel == "training":
            judged = [row.judgement for row in self.rows if row.judgement.tier == self.task.truth]
            return file_people(self.task.population, self.task.raters, majority_truth(judged), self.seed)
        raise ValueError(
            f"task judgements: there is no {panel} panel to ask about new responses; its raters are people and their "
            "judgements are in data.judgements. Set `ppo: null` to check reward models on held-out judgements"
        )


def read_rows(data: DataConfig, rejected: Path | None = None) -> list[JudgementRow]:
    """The judgements of data.judgements, each with the group it is held out by.

    rejected: where bad rows are written under data.skip_bad_rows (beside the data when not given).
    Raises ValueError when there is no file, a row is bad, or a row has no group under data.holdout: group.
    """
    if data.judgements is None:
        raise ValueError("data.judgements: task judgements needs a file of judgements")
    if data.holdout not in ("group", "prompt"):
        raise ValueError(f"data.holdout: must be group or prompt, is {data.holdout!r}")
    if data.skip_bad_rows and rejected is None:
        rejected = Path(f"{data.judgements}.rejected.jsonl")
    rows = read_judgements(
        data.judgements,
        data.format,
        tier=data.tier,
        rater=data.rater,
        rejected=rejected if data.skip_bad_rows else None,
    )
    if data.holdout == "prompt":
        return [replace(row, judgement=replace(row.judgement, group=prompt_id(row.judgement.prompt))) for row in rows]
    lacking = sum(row.judgement.group is None for row in rows)
    if lacking:
        raise ValueError(
            f"data.holdout: {lacking} of {len(rows)} rows of {data.judgements} have no group; add the column, "
            "or set data.holdout: prompt"
        )
    return rows


def _prompts(judgements: Sequence[Judgement]) -> list[Prompt]:
    """Each prompt once. Raises ValueError for one in two groups: it would be trained on and held out."""
    found: dict[str, Prompt] = {}
    for judgement in judgements:
        name = prompt_id(judgement.prompt)
        prompt = found.setdefault(name, Prompt(name, judgement.prompt, str(judgement.group), KIND))
        if prompt.group != judgement.group:
            raise ValueError(
                f"data.holdout: one prompt stands in groups {prompt.group!r} and {judgement.group!r}: "
                f"{judgement.prompt!r:.80}; give it one group, or set data.holdout: prompt"
            )
    return list(found.values())


def _standing(judgements: Sequence[Judgement]) -> dict[str, dict[str, int]]:
    """By prompt id and response: pairs that the majority of votes decides for it, less those decided against it."""
    votes: dict[tuple[str, str, str], Counter[str]] = {}
    for judgement in judgements:
        one, other = sorted((judgement.response_a, judgement.response_b))
        chosen = {"a": judgement.response_a, "b": judgement.response_b}.get(judgement.preference)
        if chosen is not None and one != other:
            votes.setdefault((prompt_id(judgement.prompt), one, other), Counter())[chosen] += 1
    standing: dict[str, dict[str, int]] = {}
    for (prompt, one, other), count in votes.items():
        lead = (count[one] > count[other]) - (count[one] < count[other])
        responses = standing.setdefault(prompt, {})
        responses[one] = responses.get(one, 0) + lead
        responses[other] = responses.get(other, 0) - lead
    return standing


def _finished(row: JudgementRow) -> list[str]:
    pairs = ((row.judgement.response_a, row.finished_a), (row.judgement.response_b, row.finished_b))
    return [text for text, finished in pairs if finished]
