"""How much votes tell of raters whose truths are known in expectation only.

The observed information of a mixture is the complete-data information less what is missing with the truths (Louis,
1982). Raters who share pairs share that loss: the matrix over raters is inverted, not only its diagonal.

Shape suffixes: E votes, P pairs, K raters, C classes of truth, N entries.
"""

from __future__ import annotations

import numpy as np

from sandwiching.reward_model.reliability.overlap import summed, together
from sandwiching.reward_model.reliability.votes import Floats, Ints, Votes, totals

DENSE = 1000
"""Raters up to which the matrix is inverted exactly."""
LEAST = 1e-9


def marginal_information(votes: Votes, complete_K: Floats, score_EC: Floats, posterior_PC: Floats) -> Floats:
    """1 / variance of each rater's parameter [K], the other raters' parameters unknown too.

    complete_K: information if truths were known, with the prior's; score_EC: derivative of a vote's log-likelihood
    about its rater's parameter, by truth; posterior_PC: of the truths. Above DENSE raters the inverse is the first two
    terms of its series about the diagonal.
    """
    one_N, other_N, missing_N = _missing(votes, score_EC, posterior_PC)
    own_N = one_N == other_N
    diagonal_K = complete_K - totals(one_N[own_N], missing_N[own_N], votes.raters)
    diagonal_K = np.maximum(diagonal_K, LEAST)
    if votes.raters <= DENSE:
        matrix_KK = np.zeros((votes.raters, votes.raters))
        matrix_KK[one_N, other_N] = -missing_N
        np.fill_diagonal(matrix_KK, diagonal_K)
        return 1 / _inverse_diagonal(matrix_KK)
    off = ~own_N
    lost_K = totals(one_N[off], missing_N[off] ** 2 / diagonal_K[other_N[off]], votes.raters)
    return 1 / ((1 + lost_K / diagonal_K) / diagonal_K)


def _inverse_diagonal(matrix_KK: Floats) -> Floats:
    """Diagonal of the inverse [K]; a direction that the votes do not tell is as uncertain as LEAST allows."""
    try:
        np.linalg.cholesky(matrix_KK)
    except np.linalg.LinAlgError:
        values_K, vectors_KK = np.linalg.eigh(matrix_KK)
        return (vectors_KK**2) @ (1 / np.maximum(values_K, LEAST))
    return np.diagonal(np.linalg.inv(matrix_KK)).astype(np.float64)


def _missing(votes: Votes, score_EC: Floats, posterior_PC: Floats) -> tuple[Ints, Ints, Floats]:
    """Covariance, given the votes, of the scores of each two raters who share pairs: two raters, value [N]."""
    posterior_EC = posterior_PC[votes.pair_E]
    centred_EC = score_EC - (posterior_EC * score_EC).sum(1, keepdims=True)
    found: list[tuple[Ints, Floats]] = []
    for one_N, other_N in together(votes, posterior_PC.shape[1]):
        value_N = np.einsum("nc,nc,nc->n", posterior_EC[one_N], centred_EC[one_N], centred_EC[other_N])
        found.append(summed(votes.rater_E[one_N] * votes.raters + votes.rater_E[other_N], value_N))
    if not found:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0)
    key_N, value_N = summed(np.concatenate([key for key, _ in found]), np.concatenate([value for _, value in found]))
    return key_N // votes.raters, key_N % votes.raters, value_N
