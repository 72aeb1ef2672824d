"""How much votes tell of raters whose truths are known in expectation only.

The observed information of a mixture is the complete-data information less what is missing with the truths (Louis,
1982). Raters who share pairs share that loss: the matrix over raters is inverted, not only its diagonal.

Shape suffixes: E votes, P pairs, K raters, C classes of truth, N entries.
"""

from __future__ import annotations

import numpy as np

from sandwiching.reward_model.reliability.votes import Floats, Ints, Votes

DENSE = 1500
"""Raters up to which the matrix is inverted exactly."""
CHUNK = 4_000_000
"""Products of votes on one pair that are made at once."""
LEAST = 1e-9


def marginal_information(votes: Votes, complete_K: Floats, score_EC: Floats, posterior_PC: Floats) -> Floats:
    """1 / variance of each rater's parameter [K], the other raters' parameters unknown too.

    complete_K: information if truths were known, with the prior's; score_EC: derivative of a vote's log-likelihood
    about its rater's parameter, by truth; posterior_PC: of the truths. Above DENSE raters the inverse is the first two
    terms of its series about the diagonal.
    """
    one_N, other_N, missing_N = _missing(votes, score_EC, posterior_PC)
    own_N = one_N == other_N
    diagonal_K = complete_K - np.bincount(one_N[own_N], weights=missing_N[own_N], minlength=votes.raters)
    diagonal_K = np.maximum(diagonal_K, LEAST)
    if votes.raters <= DENSE:
        matrix_KK = np.zeros((votes.raters, votes.raters))
        matrix_KK[one_N, other_N] = -missing_N
        np.fill_diagonal(matrix_KK, diagonal_K)
        values, vectors = np.linalg.eigh(matrix_KK)
        # A direction that the votes do not tell is as uncertain as the least information allows, not negative.
        return 1 / ((vectors**2) @ (1 / np.maximum(values, LEAST)))
    off = ~own_N
    lost_K = np.bincount(
        one_N[off], weights=missing_N[off] ** 2 / diagonal_K[other_N[off]], minlength=votes.raters
    )
    return 1 / ((1 + lost_K / diagonal_K) / diagonal_K)


def _missing(votes: Votes, score_EC: Floats, posterior_PC: Floats) -> tuple[Ints, Ints, Floats]:
    """Covariance, given the votes, of the scores of each two raters who share pairs: (rater, rater, value), each [N]."""
    posterior_EC = posterior_PC[votes.pair_E]
    centred_EC = score_EC - (posterior_EC * score_EC).sum(1, keepdims=True)
    order_E = np.argsort(votes.pair_E, kind="stable")
    counts_P = np.bincount(votes.pair_E, minlength=votes.pairs)
    starts_P = np.cumsum(counts_P) - counts_P
    found: list[tuple[Ints, Floats]] = []
    for pairs in _chunks(counts_P, posterior_PC.shape[1]):
        first_N, second_N = _together(counts_P[pairs], starts_P[pairs])
        one_N, other_N = order_E[first_N], order_E[second_N]
        value_N = (posterior_EC[one_N] * centred_EC[one_N] * centred_EC[other_N]).sum(1)
        found.append(_summed(votes.rater_E[one_N] * votes.raters + votes.rater_E[other_N], value_N))
    key_N, value_N = _summed(np.concatenate([key for key, _ in found]), np.concatenate([value for _, value in found]))
    return key_N // votes.raters, key_N % votes.raters, value_N


def _chunks(counts_P: Ints, classes: int) -> list[slice]:
    """Consecutive pairs with at most CHUNK products of votes by class, or one pair."""
    part_P = np.cumsum(classes * counts_P**2) // CHUNK
    edges = [0, *(np.flatnonzero(np.diff(part_P)) + 1).tolist(), len(counts_P)]
    return [slice(low, high) for low, high in zip(edges, edges[1:], strict=False) if high > low]


def _together(counts_P: Ints, starts_P: Ints) -> tuple[Ints, Ints]:
    """All (vote, vote) of one pair, as places in votes that are sorted by pair: counts [P] -> two [N]."""
    squares_P = counts_P**2
    width_N = np.repeat(counts_P, squares_P)
    within_N = np.arange(squares_P.sum()) - np.repeat(np.cumsum(squares_P) - squares_P, squares_P)
    start_N = np.repeat(starts_P, squares_P)
    return start_N + within_N // width_N, start_N + within_N % width_N


def _summed(key_N: Ints, value_N: Floats) -> tuple[Ints, Floats]:
    unique_N, index_N = np.unique(key_N, return_inverse=True)
    return unique_N, np.bincount(index_N, weights=value_N, minlength=len(unique_N))
