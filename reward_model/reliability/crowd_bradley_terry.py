"""Crowd-Bradley-Terry with ties: a score a text, and for each rater the probability of reading scores the right way up.

Chen et al. (2013, eq. 4): P_k(i over j) = h_k W(i, j) + (1 - h_k) W(j, i), here with the ties of Davidson (1970):
W = exp(d/2) / Z, tie = nu / Z, Z = exp(d/2) + exp(-d/2) + nu, for the difference d of the scores. Scores are integrated
out and not maximised: with a few votes a pair their maximum takes chance for difference and raters for all alike.

Shapes: E votes, P pairs, K raters, T texts, G grid points of d.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sandwiching.reward_model.reliability.information import marginal_information
from sandwiching.reward_model.reliability.population import START, Population, learned_population
from sandwiching.reward_model.reliability.records import Reliability, logit_interval
from sandwiching.reward_model.reliability.score_messages import (
    GRID,
    Messages,
    beliefs,
    difference_posterior,
    silent,
)
from sandwiching.reward_model.reliability.votes import Floats, Ints, Votes, logit

ITERATIONS = 80
TOLERANCE = 5e-4
EVERY = 10
"""Iterations between two looks at the population of raters."""
DEVIATIONS = (0.1, 4.0)
"""Limits of the scores' deviation, so that the grid holds them."""
EDGE = 1e-6


@dataclass(frozen=True, slots=True)
class Davidson:
    """first_G, second_G, tie_G: probabilities of a rater who reads right, at each difference of the grid."""

    first_G: Floats
    second_G: Floats
    tie_G: Floats


def davidson(log_nu: float) -> Davidson:
    """Win, loss and tie on the grid."""
    log_z_G = np.logaddexp(np.logaddexp(GRID / 2, -GRID / 2), log_nu)
    return Davidson(np.exp(GRID / 2 - log_z_G), np.exp(-GRID / 2 - log_z_G), np.exp(log_nu - log_z_G))


def crowd_bradley_terry(votes: Votes) -> Reliability:
    """By EM, with scores by expectation propagation; the populations of raters and texts are learned too.

    Labels: P(first wins) + P(tie) / 2 for a rater who always reads right. Skill: probability of reading right.
    """
    if not len(votes):
        raise ValueError("there are no votes to learn from")
    order_E = np.argsort(votes.pair_E, kind="stable")
    decided_E = votes.sign_E != 0
    decided_K = votes.by_rater(decided_E)
    prior, skill_K = START, np.full(votes.raters, START.mean)
    messages, deviation, log_nu = silent(votes.pairs), 1.0, -1.0
    right_K = np.zeros(votes.raters)
    for iteration in range(1, ITERATIONS + 1):
        chances = davidson(log_nu)
        log_likelihood_PG = _log_likelihood(votes, order_E, skill_K, chances)
        posterior_PG, messages = difference_posterior(messages, votes, deviation, log_likelihood_PG)
        right_K = votes.by_rater(decided_E * _read_right(votes, posterior_PG, skill_K, chances))
        if iteration % EVERY == 0:
            prior = learned_population(right_K, decided_K - right_K)
        before_K, skill_K = skill_K, _skills(right_K, decided_K, prior)
        deviation, log_nu = _scale(messages, votes, deviation), _ties(votes, posterior_PG, chances, log_nu)
        if iteration > 2 * EVERY and np.abs(skill_K - before_K).max() < TOLERANCE:
            break
    return _result(votes, posterior_PG, skill_K, davidson(log_nu), prior)


def _skills(right_K: Floats, count_K: Floats, prior: Population) -> Floats:
    share_K = (right_K + prior.mean * prior.strength) / (count_K + prior.strength)
    return np.clip(share_K, EDGE, 1 - EDGE)


def _log_likelihood(votes: Votes, order_E: Ints, skill_K: Floats, chances: Davidson) -> Floats:
    """Of each pair's votes at each difference [P, G]; pairs without votes say nothing."""
    skill = skill_K[:, None]
    first_KG = np.log(skill * chances.first_G + (1 - skill) * chances.second_G)
    tie_G, rater_E, sign_E = np.log(chances.tie_G), votes.rater_E[order_E], votes.sign_E[order_E]
    # The grid is symmetric: preferring the second at d is preferring the first at -d.
    table = np.concatenate([first_KG, first_KG[:, ::-1], tie_G[None]])
    row_E = np.where(sign_E == 0, 2 * votes.raters, np.where(sign_E > 0, rater_E, votes.raters + rater_E))
    counts_P = np.bincount(votes.pair_E, minlength=votes.pairs)
    starts_P = np.cumsum(counts_P) - counts_P
    seen_P = counts_P > 0
    found_PG = np.zeros((votes.pairs, len(GRID)))
    found_PG[seen_P] = np.add.reduceat(table[row_E], starts_P[seen_P], axis=0)
    return found_PG


def _read_right_table(skill_K: Floats, chances: Davidson) -> Floats:
    """P(read right | preferred the first, difference) [K, G]."""
    right_KG = skill_K[:, None] * chances.first_G
    return right_KG / (right_KG + (1 - skill_K[:, None]) * chances.second_G)


def _read_right(votes: Votes, posterior_PG: Floats, skill_K: Floats, chances: Davidson) -> Floats:
    """P(the vote's rater read right) [E], as if ties were decided for the second text: of no use there."""
    table_KG = _read_right_table(skill_K, chances)
    facing_EG = posterior_PG[votes.pair_E]
    facing_EG = np.where(votes.sign_E[:, None] > 0, facing_EG, facing_EG[:, ::-1])
    return np.einsum("eg,eg->e", table_KG[votes.rater_E], facing_EG)


def _scale(messages: Messages, votes: Votes, deviation: float) -> float:
    """Deviation of the scores that the beliefs about them ask for."""
    mean_T, variance_T = beliefs(messages, votes, deviation)
    return float(np.clip(np.sqrt(np.mean(mean_T**2 + variance_T)), *DEVIATIONS))


def _ties(votes: Votes, posterior_PG: Floats, chances: Davidson, log_nu: float) -> float:
    """log nu, scaled so that as many ties are expected as there are; half a tie more, for there may be none."""
    expected = float(votes.by_pair(np.ones(len(votes))) @ (posterior_PG @ chances.tie_G))
    return log_nu + float(np.log(((votes.sign_E == 0).sum() + 0.5) / (expected + 0.5)))


def _result(
    votes: Votes, posterior_PG: Floats, skill_K: Floats, chances: Davidson, prior: Population
) -> Reliability:
    decided = votes.select(votes.sign_E != 0)
    table_KG = _read_right_table(skill_K, chances)
    reads_EG = table_KG[decided.rater_E]
    reads_EG = np.where(decided.sign_E[:, None] > 0, reads_EG, reads_EG[:, ::-1])
    variance_K = skill_K * (1 - skill_K)
    unsure_E = np.einsum("eg,eg->e", reads_EG * (1 - reads_EG), posterior_PG[decided.pair_E])
    count_K = decided.by_rater(np.ones(len(decided)))
    complete_K = (count_K + prior.strength) * variance_K - decided.by_rater(unsure_E)
    score_EG = reads_EG - skill_K[decided.rater_E][:, None]
    information_K = marginal_information(decided, complete_K, score_EG, posterior_PG)
    low_K, high_K = logit_interval(logit(skill_K), information_K)
    effective_K = np.maximum(information_K / variance_K - prior.strength, 0)
    soft_P = 0.5 + posterior_PG @ (chances.first_G - chances.second_G) / 2
    return Reliability(soft_P, skill_K, low_K, high_K, effective_K, prior.mean, prior.spread)
