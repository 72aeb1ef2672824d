"""Judgements by people, from their file: of the pairs that were asked about, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sandwiching.tasks.readers import JudgementRow, read_judgements
from sandwiching.tasks.records import Tier
from sandwiching.training.pairs import FILE as PAIRS
from sandwiching.training.pairs import SampledPair

SHOWN = 5


def judged_by_people(pairs: Sequence[SampledPair], source: Path, tier: Tier, file: str) -> list[JudgementRow]:
    """People's judgements of these pairs, which stand in the artifact `source`.

    Raises ValueError for a file that is not there, has other pairs or is of another tier.
    """
    if not Path(file).exists():
        raise ValueError(f"judgements.people.{tier}: {file} does not exist on this machine")
    rows = read_judgements(file)
    others = sorted({row.judgement.rater for row in rows if row.judgement.tier != tier})
    if others:
        raise ValueError(f"{file}: {len(others)} raters are not of tier {tier}, whose judgements these are")
    known = {pair.id: (pair, ended_a, ended_b) for pair, ended_a, ended_b in pairs}
    strange = [row.judgement.pair or "(none)" for row in rows if not _same(row, known)]
    if strange:
        raise ValueError(
            f"{file}: {len(strange)} of {len(rows)} judgements are of other pairs than {source / PAIRS} holds, "
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
