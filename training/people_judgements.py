"""Judgements by people: the stage stops until their file lies in its folder, then reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sandwiching.tasks.readers import JudgementRow, read_judgements
from sandwiching.tasks.records import Tier
from sandwiching.training.artifacts import StageFolder, WaitingForPeople
from sandwiching.training.pairs import FILE as PAIRS
from sandwiching.training.pairs import SampledPair

NAMES = ("people.jsonl", "people.jsonl.gz")
"""What the file is called; it becomes part of the artifact."""
SHOWN = 5


def judged_by_people(pairs: Sequence[SampledPair], source: Path, tier: Tier, folder: StageFolder) -> list[JudgementRow]:
    """People's judgements of these pairs, which stand in the artifact `source`.

    Raises WaitingForPeople while there is no file, and ValueError for one with other pairs or another tier.
    """
    found = [folder.path / name for name in NAMES if (folder.path / name).exists()]
    if not found:
        raise WaitingForPeople(
            f"{len(pairs)} pairs wait for {tier} people: have {source / PAIRS} judged "
            f"and put the judgements at {folder.path / NAMES[0]}; then the same command goes on from there"
        )
    if len(found) > 1:
        raise ValueError(f"{folder.path} holds both {' and '.join(NAMES)}; keep one of them")
    rows = read_judgements(found[0])
    others = sorted({row.judgement.rater for row in rows if row.judgement.tier != tier})
    if others:
        raise ValueError(f"{found[0]}: {len(others)} raters are not of tier {tier}, whose judgements these are")
    known = {pair.id: (pair, ended_a, ended_b) for pair, ended_a, ended_b in pairs}
    strange = [row.judgement.pair or "(none)" for row in rows if not _same(row, known)]
    if strange:
        raise ValueError(
            f"{found[0]}: {len(strange)} of {len(rows)} judgements are of other pairs than {source / PAIRS} holds, "
            f"e.g. pair {', '.join(strange[:SHOWN])}; keep the column `pair` and both responses as they stand there"
        )
    return rows


def _same(row: JudgementRow, known: dict[str, SampledPair]) -> bool:
    """Whether it is one of the pairs, whichever response stands first."""
    judgement = row.judgement
    if judgement.pair not in known:
        return False
    pair, ended_a, ended_b = known[judgement.pair]
    asked = {(pair.response_a, ended_a), (pair.response_b, ended_b)}
    said = {(judgement.response_a, row.finished_a), (judgement.response_b, row.finished_b)}
    return said == asked and judgement.prompt == pair.prompt.text
