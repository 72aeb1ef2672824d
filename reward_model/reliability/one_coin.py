"""One coin a rater: right with a probability of the rater's own, whatever the pair (Dawid and Skene, 1979, section 5).

Shapes: E votes, P pairs, K raters.
"""

from __future__ import annotations

import numpy as np

from sandwiching.reward_model.reliability.information import marginal_information
from sandwiching.reward_model.reliability.population import START, Population, learned_population
from sandwiching.reward_model.reliability.records import Reliability, logit_interval
from sandwiching.reward_model.reliability.votes import Floats, Votes, logit, sigmoid

ROUNDS = 4
"""How often the population is learned anew."""
ITERATIONS = 200
TOLERANCE = 1e-6
EDGE = 1e-6


def one_coin(votes: Votes, population: Population | None = None) -> Reliability:
    """By EM from the majority. Ties are no evidence of who is right: they move neither labels nor skills.

    population: what is believed of a rater beforehand; None learns it. Either response is the better one with equal
    probability beforehand, since which is first says nothing.
    """
    decided = votes.select(votes.sign_E != 0)
    count_K = decided.by_rater(np.ones(len(decided)))
    known, prior = population is not None, population or START
    logit_P = decided.by_pair(decided.sign_E) * logit(np.array(prior.mean))
    right_K = np.zeros(votes.raters)
    for round_ in range(1 if known else ROUNDS):
        if round_:
            prior = learned_population(right_K, count_K - right_K)
        logit_P, right_K = _fit(decided, logit_P, count_K, prior)
    skill_K = _skills(right_K, count_K, prior)
    soft_P = sigmoid(logit_P)
    variance_K = skill_K * (1 - skill_K)
    sign_E, own_E = decided.sign_E, skill_K[decided.rater_E]
    score_EC = np.stack([(sign_E > 0) - own_E, (sign_E < 0) - own_E], axis=1)
    complete_K = (count_K + prior.strength) * variance_K
    information_K = marginal_information(decided, complete_K, score_EC, np.stack([soft_P, 1 - soft_P], axis=1))
    low_K, high_K = logit_interval(logit(skill_K), information_K)
    effective_K = np.maximum(information_K / variance_K - prior.strength, 0)
    return Reliability(soft_P, skill_K, low_K, high_K, effective_K, prior.mean, prior.spread)


def _skills(right_K: Floats, count_K: Floats, prior: Population) -> Floats:
    """The mode of the posterior in logits, so with all of the prior's counts."""
    share_K = (right_K + prior.mean * prior.strength) / (count_K + prior.strength)
    return np.clip(share_K, EDGE, 1 - EDGE)


def _fit(decided: Votes, logit_P: Floats, count_K: Floats, prior: Population) -> tuple[Floats, Floats]:
    """EM until no skill moves: log-odds of the first text [P], expected right votes [K]."""
    skill_K = np.full(decided.raters, prior.mean)
    right_K = np.zeros(decided.raters)
    for _ in range(ITERATIONS):
        right_K = decided.by_rater(sigmoid(decided.sign_E * logit_P[decided.pair_E]))
        before_K, skill_K = skill_K, _skills(right_K, count_K, prior)
        logit_P = decided.by_pair(decided.sign_E * logit(skill_K)[decided.rater_E])
        if np.abs(skill_K - before_K).max(initial=0) < TOLERANCE:
            break
    return logit_P, right_K
