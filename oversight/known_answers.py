"""What experts may see on the judging page, and questions whose answer is known, where a task has gold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sandwiching.configs.schema import CapitalsTask, TaskConfig
from sandwiching.tasks.capitals import facts_by_id
from sandwiching.tasks.capitals_gold import make_gold
from sandwiching.tasks.geonames import fingerprint
from sandwiching.tasks.pair_rows import PairRow
from sandwiching.tasks.people import right_names


def with_references(task: TaskConfig, rows: Sequence[PairRow]) -> list[PairRow]:
    """The pairs with every right answer, and where it is known from; as they are for a task without gold."""
    if not isinstance(task, CapitalsTask):
        return list(rows)
    facts, origin = facts_by_id(task), f"GeoNames ({fingerprint()})"
    return [
        replace(
            row,
            source=origin,
            references=tuple(
                facts[row.pair.prompt.id].sentence(name) for name in right_names(facts[row.pair.prompt.id])
            ),
        )
        for row in rows
    ]


def with_answers(task: TaskConfig, rows: Sequence[PairRow]) -> list[PairRow]:
    """The pairs of which gold calls exactly one response right, each with that as its answer.

    Raises ValueError for a task without gold, or when no pair is decided.
    """
    gold, found = make_gold(task), []
    for row in rows:
        pair = row.pair
        right_a, right_b = gold.correct(pair.prompt, pair.response_a), gold.correct(pair.prompt, pair.response_b)
        if right_a != right_b:
            found.append(replace(row, answer="a" if right_a else "b"))
    if not found:
        raise ValueError("gold questions: of no pair exactly one response is right; give --gold FILE")
    return found
