"""Approval: a rater approves an answer when it prefers it to the prompt's anchor, one stored sample of the floor.

Who judges a prompt, and on which side the answer stands, is fixed by prompt and rater. Every policy meets the same
raters in the same places, so their habits cancel in the differences between policies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from sandwiching.tasks.records import Judgement, Pair, Prompt, Rater


def _digest(prompt: Prompt, rater: Rater, purpose: str) -> bytes:
    return hashlib.sha256(f"{prompt.id}\0{rater.id}\0{purpose}".encode()).digest()


def assigned(prompt: Prompt, raters: Sequence[Rater], count: int) -> list[Rater]:
    """The `count` raters who judge everything about this prompt, in a fixed order.

    Raises ValueError when the panel is smaller.
    """
    if count > len(raters):
        raise ValueError(
            f"check.raters_per_response is {count}, but the check panel has {len(raters)} raters: lower it, or enlarge "
            "the panel (task.check_raters)"
        )
    return sorted(raters, key=lambda rater: _digest(prompt, rater, "asked"))[:count]


def preference(rater: Rater, prompt: Prompt, answer: str, other: str, name: str, side: str) -> float:
    """1 when the rater prefers `answer` to `other`, 0 the other way, 1/2 for a tie; equal texts are a tie unasked.

    `name` tells comparisons about one prompt apart; a simulated rater's luck depends on it. Comparisons of equal `side`
    have `answer` on the same side.
    """
    if answer == other:
        return 0.5
    first = _digest(prompt, rater, side)[-1] % 2 == 0
    a, b = (answer, other) if first else (other, answer)
    verdict: Judgement = rater.judge(Pair(f"{prompt.id}/{name}", prompt, a, b))
    if verdict.preference == "tie":
        return 0.5
    return float((verdict.preference == "a") == first)


def approvals(prompt: Prompt, responses: Sequence[str], anchor: str, raters: Sequence[Rater]) -> list[list[float]]:
    """Per response, per rater: the preference over the anchor."""
    return [
        [preference(rater, prompt, response, anchor, f"approval/{sample}", "approval") for rater in raters]
        for sample, response in enumerate(responses)
    ]
