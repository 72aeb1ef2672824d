"""Do raters say the same of the same pairs more often than chance? None of it needs an expert, and none finds a bias
that all share.

Which response of a pair is first is arbitrary, so that every measure is the same however pairs are turned.
Shapes: E votes, P pairs, G groups of pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sandwiching.reward_model.reliability.student_t import t_critical
from sandwiching.reward_model.reliability.votes import Floats, Ints, Votes, totals


@dataclass(frozen=True, slots=True)
class SplitHalf:
    """Agreement of the majorities of two halves of a pair's raters, a tie of either counting half; .5 is chance.

    Mean over pairs with two votes or more, and its 95 % interval over their groups, since pairs of one group share
    what makes them easy: 0..1 where there is one group only. decided: the same over splits in which neither half is
    level, None where there is none.
    """

    agreement: float
    low: float
    high: float
    decided: float | None
    pairs: int
    groups: int


def split_half(votes: Votes, group_P: Ints, seed: int, splits: int = 20) -> SplitHalf | None:
    """Over random splits; of an odd number of raters one half has one more. group_P: codes of what pairs are clustered
    by. None where no pair has two votes."""
    random = np.random.default_rng(seed)
    count_P = votes.by_pair(np.ones(len(votes)))
    enough_P = count_P > 1
    if not enough_P.any():
        return None
    total_P = votes.by_pair(votes.sign_E)
    starts_P = (np.cumsum(count_P) - count_P).astype(np.int64)
    same_P, decided_P = np.zeros(votes.pairs), np.zeros(votes.pairs)
    for _ in range(splits):
        order_E = np.argsort(votes.pair_E + random.random(len(votes)))
        rank_E = np.arange(len(votes)) - starts_P[votes.pair_E[order_E]]
        in_half_E = np.zeros(len(votes), dtype=bool)
        in_half_E[order_E] = rank_E < (count_P // 2)[votes.pair_E[order_E]]
        half_P = votes.by_pair(votes.sign_E * in_half_E)
        product_P = np.sign(half_P) * np.sign(total_P - half_P)
        same_P += product_P / splits
        decided_P += np.abs(product_P) / splits
    agrees_P = (1 + same_P[enough_P]) / 2
    decided = (1 + float(same_P.sum() / decided_P.sum())) / 2 if decided_P.any() else None
    mean, half, groups = clustered_mean(agrees_P, group_P[enough_P])
    return SplitHalf(mean, max(mean - half, 0.0), min(mean + half, 1.0), decided, len(agrees_P), groups)


def clustered_mean(value_P: Floats, group_P: Ints) -> tuple[float, float, int]:
    """Mean over pairs, half of its 95 % interval, and the number of groups.

    Groups are independent, pairs within one need not be (Liang and Zeger, 1986): the variance is that of the groups'
    summed residuals, times G / (G - 1), and t has G - 1 degrees of freedom. Infinite for one group.
    """
    codes, group_N = np.unique(group_P, return_inverse=True)
    mean, groups = float(value_P.mean()), len(codes)
    if groups < 2:
        return mean, math.inf, groups
    sum_G = totals(group_N, value_P - mean, groups)
    error = math.sqrt(groups / (groups - 1) * float(sum_G @ sum_G)) / len(value_P)
    return mean, t_critical(0.95, groups - 1) * error, groups


def krippendorff_alpha(votes: Votes) -> float | None:
    """1 - observed / expected disagreement with the interval metric on -1, 0, 1 (Krippendorff, 2011).

    Each vote counts in both directions for what is expected, as the direction is arbitrary. None where no pair has two
    votes, or all votes are ties.
    """
    count_P, sum_P = votes.by_pair(np.ones(len(votes))), votes.by_pair(votes.sign_E)
    squares_P = votes.by_pair(votes.sign_E**2)
    kept_P = count_P > 1
    count_P, sum_P, squares_P = count_P[kept_P], sum_P[kept_P], squares_P[kept_P]
    values, squares = count_P.sum(), squares_P.sum()
    if squares == 0:
        return None
    observed = (2 * (count_P * squares_P - sum_P**2) / (count_P - 1)).sum() / values
    return float(1 - observed / (4 * squares / (2 * values - 1)))


def permutation_p(votes: Votes, seed: int, permutations: int) -> float | None:
    """P(at least as much agreement | raters do not look): each rater's clicks shuffled over that rater's pairs.

    Clicks (left, right, tie as shown) are shuffled, so that a habit of clicking left is part of chance. The statistic
    is the sum over pairs of the squared sum of votes; 1 is added to both counts (Phipson and Smyth, 2010). None where
    no pair has two votes.
    """
    if not (votes.by_pair(np.ones(len(votes))) > 1).any():
        return None
    random = np.random.default_rng(seed)
    order_E = np.argsort(votes.rater_E, kind="stable")
    way_E = np.where(votes.turned_E, -1.0, 1.0)[order_E]
    pair_E, rater_E, click_E = votes.pair_E[order_E], votes.rater_E[order_E], votes.sign_E[order_E] * way_E
    seen = float((votes.by_pair(votes.sign_E) ** 2).sum())
    reached = 0
    for _ in range(permutations):
        shuffled_E = click_E[np.argsort(rater_E + random.random(len(votes)))]
        sum_P = totals(pair_E, shuffled_E * way_E, votes.pairs)
        reached += float(sum_P @ sum_P) >= seen
    return (reached + 1) / (permutations + 1)
