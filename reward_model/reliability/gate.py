"""Do judgements carry a signal at all? Asked before a reward model is trained on them, and without any expert.

Copied ratings are looked for first: they pass every test of consistency.
Shapes: E votes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from sandwiching.reward_model.reliability.consistency import SplitHalf, krippendorff_alpha, permutation_p, split_half
from sandwiching.reward_model.reliability.repeated import Copied, copied_share
from sandwiching.reward_model.reliability.votes import Floats, Ints, Votes

Verdict = Literal["YES", "NO", "DUPLICATES"]
NECESSARY = "Consistency is necessary, not sufficient: a bias that all raters share passes every such test."
COPIED_SHARE = 0.07
COPIED_LIKELIHOOD_RATIO = 20.0
COPIED_EXCESS = 1.1
"""Copies are certain when this share of items is copied, so likely, and identical ratings exceed what agreement
explains by this factor: honest ratings on 3 to 100 points, of easy and hard items, stay below one of them."""


@dataclass(frozen=True, slots=True)
class Gate:
    """The verdict, a sentence, and the numbers behind it; None where the judgements do not allow a number."""

    verdict: Verdict
    sentence: str
    split_half: SplitHalf | None
    alpha: float | None
    permutation_p: float | None
    copied_pairs: Copied | None
    copied_items: Copied | None


def judge_signal(
    votes: Votes,
    group_P: Ints,
    score_first_E: Floats,
    score_second_E: Floats,
    *,
    permutations: int,
    max_p: float,
    seed: int,
) -> Gate:
    """The gate over votes and their ratings (nan where a rater gave none), both in the order of the votes; group_P:
    codes of what pairs are clustered by.

    Raises ValueError when no p can be as low as max_p.
    """
    if max_p * (permutations + 1) < 1:
        raise ValueError(f"{permutations} permutations give no p below {1 / (permutations + 1):.3g}: max_p is {max_p}")
    copied_pairs, copied_items = _copied(votes, score_first_E, score_second_E)
    halves, p = split_half(votes, group_P, seed), permutation_p(votes, seed, permutations)
    verdict, sentence = _verdict(halves, p, max_p, copied_pairs, copied_items)
    return Gate(verdict, sentence, halves, krippendorff_alpha(votes), p, copied_pairs, copied_items)


def _copied(votes: Votes, score_first_E: Floats, score_second_E: Floats) -> tuple[Copied | None, Copied | None]:
    """Copies of whole pairs of ratings, and of the ratings of single responses."""
    score_N = np.concatenate([score_first_E, score_second_E])
    pair_N = np.concatenate([votes.pair_E, votes.pair_E])
    slot_N = np.concatenate([2 * votes.pair_E, 2 * votes.pair_E + 1])
    given_N = ~np.isnan(score_N)
    if not given_N.any():
        return None, None
    pair_N, slot_N, score_N = pair_N[given_N], slot_N[given_N], score_N[given_N]
    return copied_share(pair_N, slot_N, score_N), copied_share(slot_N, slot_N, score_N)


def _certain(copied: Copied | None) -> bool:
    return (
        copied is not None
        and copied.share >= COPIED_SHARE
        and copied.likelihood_ratio >= COPIED_LIKELIHOOD_RATIO
        and copied.identical >= COPIED_EXCESS * copied.expected
    )


def _verdict(
    halves: SplitHalf | None, p: float | None, max_p: float, pairs: Copied | None, items: Copied | None
) -> tuple[Verdict, str]:
    for copied, what in ((pairs, "pairs"), (items, "responses")):
        if copied is not None and _certain(copied):
            return "DUPLICATES", (
                f"Ratings are copied: on {copied.identical:.0%} of {copied.units} {what} all raters gave identical "
                f"scores, where agreement explains {copied.expected:.0%}. Their consistency says nothing; drop the "
                "copies and ask again."
            )
    if halves is None or p is None:
        return "NO", (
            "No pair was judged by two raters, so nothing can be said of the signal: let several raters judge some "
            "of the same pairs."
        )
    numbers = f"halves of the raters agree on {halves.agreement:.3f} of the pairs, chance .5; permutation p = {p:.3g}"
    if p > max_p:
        return "NO", f"The raters agree no more than raters who do not look ({numbers})."
    # The interval is no part of it: it is for other groups of pairs, and p is exact for these.
    if halves.agreement <= 0.5:
        return "NO", f"Halves of the raters agree less than by chance ({numbers})."
    return "YES", f"The raters agree more than chance explains ({numbers}). {NECESSARY}"
