"""How much votes tell of raters whose truths are known in expectation only.

The observed information of a mixture is the complete-data information less what is missing with the truths (Louis,
1982). Raters who share pairs share that loss: the matrix over raters is inverted, not only its diagonal.

Shape suffixes: E votes, P pairs, K raters, C classes of truth, N entries.
"""

from __future__ import annotations

import numpy as np

from sandwiching.reward_model.reliability.overlap import summed, together
from sandwiching.reward_model.reliability.votes import Floats, Ints, Votes

DENSE = 1500
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
    found: list[tuple[Ints, Floats]] = []
    for one_N, other_N in together(votes, posterior_PC.shape[1]):
        value_N = np.einsum("nc,nc,nc->n", posterior_EC[one_N], centred_EC[one_N], centred_EC[other_N])
        found.append(summed(votes.rater_E[one_N] * votes.raters + votes.rater_E[other_N], value_N))
    if not found:
        return (np.zeros(0, dtype=np.int64),) * 2 + (np.zeros(0),)
    key_N, value_N = summed(np.concatenate([key for key, _ in found]), np.concatenate([value for _, value in found]))
    return key_N // votes.raters, key_N % votes.raters, value_N
