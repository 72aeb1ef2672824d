"""The rater line: how often weak raters who labelled nothing in training are right on the held-out prompts.

Each rater compares every two candidates of a prompt. What wins most comparisons is the rater's choice, on the scale of
a policy's forced choice over the same candidates (chance 1 / candidates); right against each wrong one is its accuracy
on pairs (chance 1/2). Raters write no answers: beside free generation the line is their choice too, which is easier
than writing, so a policy above it there is above its raters. Intervals of the line cover other prompts, not another
panel of raters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from sandwiching.oversight.approval import preference
from sandwiching.oversight.choice import chosen_right
from sandwiching.tasks.records import Prompt, Rater


@dataclass(frozen=True, slots=True)
class RaterAnswers:
    """How the raters of one prompt did, in their order: right choice and share of pairs right, both 0..1."""

    raters: list[str]
    forced: list[float]
    pairs: list[float]


def rater_answers(prompt: Prompt, candidates: Sequence[str], raters: Sequence[Rater]) -> RaterAnswers:
    """Ask each rater for every pair of candidates, the right one being the first."""
    forced, pairs = [], []
    for rater in raters:
        wins = [0.0] * len(candidates)
        against_wrong = 0.0
        for one, other in combinations(range(len(candidates)), 2):
            name = f"candidates/{one}/{other}"
            won = preference(rater, prompt, candidates[one], candidates[other], name, side=name)
            wins[one] += won
            wins[other] += 1 - won
            against_wrong += won if one == 0 else 0.0
        forced.append(chosen_right(wins))
        pairs.append(against_wrong / (len(candidates) - 1))
    return RaterAnswers([rater.id for rater in raters], forced, pairs)
