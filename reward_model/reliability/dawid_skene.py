"""A confusion matrix a rater, over first better, tie, second better (Dawid and Skene, 1979).

Shapes: E votes, P pairs, K raters, C classes of truth, L labels (the same classes).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sandwiching.reward_model.reliability.information import marginal_information
from sandwiching.reward_model.reliability.population import learned_population
from sandwiching.reward_model.reliability.records import Reliability, logit_interval
from sandwiching.reward_model.reliability.votes import Bools, Floats, Ints, Votes, logit, totals

SIGNS = np.array([1.0, 0.0, -1.0])
"""The classes: first better, tie, second better."""
ITERATIONS = 100
TOLERANCE = 1e-5
LEAST = 1e-10
"""Expected counts and priors are no lower, so that logarithms exist."""


@dataclass(frozen=True, slots=True)
class Confusions:
    """posterior_PC: P(truth) of each pair; confusion_KCL: P(label | truth) of each rater, 0 for labels never given;
    prior_C: shares of the truths."""

    posterior_PC: Floats
    confusion_KCL: Floats
    prior_C: Floats


def confusions(
    pair_E: Ints, rater_E: Ints, label_E: Ints, classes: int, iterations: int = ITERATIONS, tolerance: float = TOLERANCE
) -> Confusions:
    """Maximum likelihood by EM from the shares of votes, without any prior.

    Stops when the evidence lower bound gains less than `tolerance` a vote. Codes are below their counts; every pair
    and every rater has a vote.
    """
    pairs, raters = int(pair_E.max()) + 1, int(rater_E.max()) + 1
    cell_E = rater_E * classes + label_E
    used_KL = np.bincount(cell_E, minlength=raters * classes).reshape(raters, classes) > 0
    posterior_PC = np.bincount(pair_E * classes + label_E, minlength=pairs * classes).reshape(pairs, classes) * 1.0
    posterior_PC /= posterior_PC.sum(1, keepdims=True)
    prior_C, confusion_KCL = _maximise(posterior_PC, pair_E, cell_E, used_KL)
    bound = -np.inf
    for _ in range(iterations):
        posterior_PC = _expect(prior_C, confusion_KCL, pair_E, rater_E, label_E, pairs)
        prior_C, confusion_KCL = _maximise(posterior_PC, pair_E, cell_E, used_KL)
        before, bound = bound, _bound(posterior_PC, prior_C, confusion_KCL, pair_E, rater_E, label_E)
        if bound - before < tolerance:
            break
    return Confusions(posterior_PC, confusion_KCL, prior_C)


def _maximise(posterior_PC: Floats, pair_E: Ints, cell_E: Ints, used_KL: Bools) -> tuple[Floats, Floats]:
    raters, classes = used_KL.shape
    counts_CKL = np.stack([totals(cell_E, weight_P[pair_E], raters * classes) for weight_P in posterior_PC.T]).reshape(
        classes, raters, classes
    )
    counts_KCL = np.maximum(counts_CKL.transpose(1, 0, 2), LEAST) * used_KL[:, None]
    return np.maximum(posterior_PC.mean(0), LEAST), counts_KCL / counts_KCL.sum(2, keepdims=True)


def _expect(prior_C: Floats, confusion_KCL: Floats, pair_E: Ints, rater_E: Ints, label_E: Ints, pairs: int) -> Floats:
    said_EC = np.log(confusion_KCL[rater_E, :, label_E])
    log_PC = np.stack([totals(pair_E, said_E, pairs) for said_E in said_EC.T], axis=1)
    log_PC += np.log(prior_C)
    weight_PC = np.exp(log_PC - log_PC.max(1, keepdims=True))
    return weight_PC / weight_PC.sum(1, keepdims=True)


def _bound(
    posterior_PC: Floats, prior_C: Floats, confusion_KCL: Floats, pair_E: Ints, rater_E: Ints, label_E: Ints
) -> float:
    """The evidence lower bound a vote, with the prior counted once a vote: crowd-kit's rule, to stop where it does."""
    said_EC = np.log(confusion_KCL[rater_E, :, label_E]) + np.log(prior_C)
    clipped_PC = np.maximum(posterior_PC, LEAST)
    entropy = -(clipped_PC * np.log(clipped_PC)).sum()
    return float(((posterior_PC[pair_E] * said_EC).sum() + entropy) / len(pair_E))


def dawid_skene(votes: Votes) -> Reliability:
    """Labels: P(first better) + P(tie) / 2. Skill: share right among decided votes on pairs that are no tie.

    Confusions have no prior, as in the paper; skills are drawn towards the raters' population, and their intervals are
    those of a share whose counts are known in expectation. Votes that nobody else joined tell nothing of a rater: the
    model, which learns how often the first is better, would take each for right. A pair without votes has label 1/2.
    """
    seen_K, rater_E = np.unique(votes.rater_E, return_inverse=True)
    seen_P, pair_E = np.unique(votes.pair_E, return_inverse=True)
    given, label_E = np.unique(1 - votes.sign_E.astype(np.int64), return_inverse=True)
    found = confusions(pair_E, rater_E, label_E, len(given))
    posterior_PC = np.full((votes.pairs, 3), 1 / 3)
    posterior_PC[seen_P] = 0
    posterior_PC[np.ix_(seen_P, given)] = found.posterior_PC
    right_E = _mass(posterior_PC, votes, votes.sign_E)
    wrong_E = _mass(posterior_PC, votes, -votes.sign_E)
    shared_E = votes.by_pair(np.ones(len(votes)))[votes.pair_E] > 1
    right_K, wrong_K = votes.by_rater(right_E * shared_E), votes.by_rater(wrong_E * shared_E)
    prior = learned_population(right_K[seen_K], wrong_K[seen_K])
    count_K = right_K + wrong_K
    skill_K = (right_K + prior.mean * prior.strength) / (count_K + prior.strength)
    variance_K = skill_K * (1 - skill_K)
    own_E, counted_E = skill_K[votes.rater_E][:, None], (shared_E & (votes.sign_E != 0))[:, None]
    agrees_EC = votes.sign_E[:, None] * SIGNS
    score_EC = np.where(agrees_EC > 0, 1 - own_E, np.where(agrees_EC < 0, -own_E, 0.0)) * counted_E
    information_K = marginal_information(votes, (count_K + prior.strength) * variance_K, score_EC, posterior_PC)
    low_K, high_K = logit_interval(logit(skill_K), information_K)
    effective_K = np.maximum(information_K / variance_K - prior.strength, 0)
    soft_P = posterior_PC @ (SIGNS + 1) / 2
    return Reliability(soft_P, skill_K, low_K, high_K, effective_K, prior.mean, prior.spread)


def _mass(posterior_PC: Floats, votes: Votes, sign_E: Floats) -> Floats:
    """P(the truth of the vote's pair is `sign_E`) for decided votes, 0 for ties [E]."""
    mass_E = posterior_PC[votes.pair_E, (1 - sign_E).astype(np.int64)]
    return np.where(votes.sign_E == 0, 0.0, mass_E)
