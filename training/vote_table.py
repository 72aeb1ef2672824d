"""Judgements as votes on pairs: who judged which pair, and which way around it was shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sandwiching.reward_model.reliability.votes import Bools, Floats, Ints, Votes
from sandwiching.tasks.columns import PairKey, first_votes, pair_key
from sandwiching.tasks.records import Judgement, Tier

SIGNS = {"a": 1.0, "tie": 0.0, "b": -1.0}


@dataclass(frozen=True, slots=True)
class VoteTable:
    """Votes of all tiers. rater_names, tier_K [K]; group_P [P]: what intervals are clustered by; score_first_E,
    score_second_E [E]: ratings of the pair's texts, nan where none; repeated: votes left out, since the same rater had
    judged the same pair before."""

    votes: Votes
    rater_names: tuple[str, ...]
    tier_K: tuple[Tier, ...]
    group_P: tuple[str, ...]
    score_first_E: Floats
    score_second_E: Floats
    repeated: int

    @property
    def group_code_P(self) -> Ints:
        """Groups as codes."""
        return np.unique(np.array(self.group_P, dtype=np.str_), return_inverse=True)[1].astype(np.int64)

    def of_tier(self, tier: Tier) -> VoteTable:
        """The votes of one tier, its raters coded anew; pairs keep their codes."""
        kept_E = np.array([one == tier for one in self.tier_K], dtype=bool)[self.votes.rater_E]
        return self._select(kept_E)

    def _select(self, kept_E: Bools) -> VoteTable:
        votes = self.votes
        codes, rater_E = np.unique(votes.rater_E[kept_E], return_inverse=True)
        columns = (votes.sign_E[kept_E], votes.turned_E[kept_E])
        return VoteTable(
            Votes(votes.pair_E[kept_E], rater_E, *columns, votes.first_P, votes.second_P, len(codes)),
            tuple(self.rater_names[code] for code in codes),
            tuple(self.tier_K[code] for code in codes),
            self.group_P,
            self.score_first_E[kept_E],
            self.score_second_E[kept_E],
            self.repeated,
        )


def vote_table(judgements: Sequence[Judgement]) -> VoteTable:
    """Pairs are told apart as in tasks/columns.py; of one rater's judgements of one pair the first counts.

    The way around of a pair is that of its first judgement. Groups are those of the judgements; their prompts where
    they have none, or all the same.
    """
    pairs: dict[PairKey, int] = {}
    texts: dict[tuple[str, str], int] = {}
    raters: dict[str, int] = {}
    ends: list[tuple[int, int]] = []
    tiers: list[Tier] = []
    groups: list[str] = []
    rows: list[tuple[int, int, float, bool, float, float]] = []
    for one in first_votes(judgements):
        key = pair_key(one)
        first, second = (texts.setdefault((key[0], text), len(texts)) for text in (one.response_a, one.response_b))
        pair = pairs.setdefault(key, len(pairs))
        if pair == len(ends):
            ends.append((first, second))
            groups.append(one.group or key[0])
        rater = raters.setdefault(one.rater, len(raters))
        if rater == len(tiers):
            tiers.append(one.tier)
        turned = (first, second) != ends[pair]
        scores = [float("nan") if score is None else score for score in (one.score_a, one.score_b)]
        sign = -SIGNS[one.preference] if turned else SIGNS[one.preference]
        rows.append((pair, rater, sign, turned, *(scores[::-1] if turned else scores)))  # pyright: ignore
    if len(set(groups)) == 1:
        groups = [prompt for prompt, *_ in pairs]
    pair_E, rater_E, sign_E, turned_E, score_first_E, score_second_E = np.array(rows, dtype=float).reshape(-1, 6).T
    end_P2 = np.array(ends, dtype=np.int64).reshape(-1, 2)
    votes = Votes(
        pair_E.astype(np.int64),
        rater_E.astype(np.int64),
        sign_E,
        turned_E.astype(bool),
        end_P2[:, 0],
        end_P2[:, 1],
        len(raters),
    )
    repeated = len(judgements) - len(rows)
    return VoteTable(votes, tuple(raters), tuple(tiers), tuple(groups), score_first_E, score_second_E, repeated)
