"""A rater's verdict on a pair, as the row that becomes of it."""

from __future__ import annotations

from collections.abc import Callable

from sandwiching.tasks.habits import Found
from sandwiching.tasks.records import Judgement, Pair, Preference, Rater

Compare = Callable[[str, str, bool], Found]
"""Of (one response, another, whether the first of them is shown first)."""


def judged(
    rater: Rater,
    pair: Pair,
    preference: Preference,
    confidence: float,
    assistance: str | None,
    shown: str | None = None,
) -> Judgement:
    """The row of a verdict. confidence: 1/2..1."""
    return Judgement(
        prompt=pair.prompt.text,
        response_a=pair.response_a,
        response_b=pair.response_b,
        preference=preference,
        rater=rater.id,
        tier=rater.tier,
        confidence=round(confidence, 3),
        group=pair.prompt.group,
        pair=pair.id,
        shown=shown,
        assistance=assistance,
    )


def judged_in_order(rater: Rater, pair: Pair, compare: Compare, assistance: str | None) -> Judgement:
    """The row of what `compare` finds. It meets the texts in alphabetical order: without a position bias, swapped sides
    give the swapped verdict."""
    swapped = pair.response_b < pair.response_a
    one, other = sorted((pair.response_a, pair.response_b))
    first, confidence = compare(one, other, not swapped)
    preference: Preference = "tie" if first is None else "a" if first != swapped else "b"
    return judged(rater, pair, preference, confidence, assistance)
