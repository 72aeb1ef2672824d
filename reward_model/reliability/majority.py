"""The majority of votes, every rater alike: what reliability models have to beat.

Shapes: E votes, P pairs, K raters.
"""

from __future__ import annotations

import numpy as np

from sandwiching.reward_model.reliability.population import learned_population
from sandwiching.reward_model.reliability.records import Reliability, wilson_interval
from sandwiching.reward_model.reliability.votes import Votes


def majority(votes: Votes) -> Reliability:
    """Labels are mean votes. A rater's skill is how often the others' majority on the same pair says the same.

    Where either is a tie nothing is counted; intervals are Wilson's (1927), with no prior: a rater without company has
    skill 1/2 and limits 0 and 1.
    """
    count_P = votes.by_pair(np.ones(len(votes)))
    total_P = votes.by_pair(votes.sign_E)
    soft_P = 0.5 + 0.5 * total_P / np.maximum(count_P, 1)
    agrees_E = votes.sign_E * np.sign(total_P[votes.pair_E] - votes.sign_E)
    right_K, wrong_K = votes.by_rater(agrees_E > 0), votes.by_rater(agrees_E < 0)
    count_K = right_K + wrong_K
    share_K = np.where(count_K > 0, right_K / np.maximum(count_K, 1), 0.5)
    population = learned_population(right_K, wrong_K)
    return Reliability(soft_P, share_K, *wilson_interval(right_K, count_K), count_K, population.mean, population.spread)
