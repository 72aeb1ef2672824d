"""What experts said of the held-out prompts of a file of judgements. Only oversight may import this."""

from __future__ import annotations

from sandwiching.tasks.judgements import JudgementsFile, read_rows
from sandwiching.tasks.records import Split
from sandwiching.tasks.schemas import JudgementRow
from sandwiching.tasks.sealed import refuse_training


def judged_by_all(file: JudgementsFile, split: Split) -> list[JudgementRow]:
    """Judgements of both tiers on the prompts of a split, in the file's order: it is read again for those of experts.

    Raises Sealed while a training stage is at work, ValueError for a bad row.
    """
    refuse_training(f"expert judgements of the {split} split")
    groups = {prompt.group for prompt in file.prompts(split)}
    return [row for row in read_rows(file.data, file.rejected) if row.judgement.group in groups]
