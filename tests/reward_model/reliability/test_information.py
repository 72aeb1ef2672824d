"""Information about raters against the curvature of the log-likelihood itself."""

import itertools

import numpy as np
import pytest

import sandwiching.reward_model.reliability.information as information
from sandwiching.reward_model.reliability.information import marginal_information
from sandwiching.reward_model.reliability.one_coin import one_coin
from sandwiching.reward_model.reliability.population import Population
from sandwiching.reward_model.reliability.votes import logit, sigmoid


def log_posterior(logit_K, votes, prior):
    """Of the one-coin model by a loop: truths summed out, prior counts in logits."""
    skill_K = sigmoid(logit_K)
    total = 0.0
    for pair in range(votes.pairs):
        own = votes.pair_E == pair
        p, sign = skill_K[votes.rater_E[own]], votes.sign_E[own]
        total += np.log(0.5 * np.prod(np.where(sign > 0, p, 1 - p)) + 0.5 * np.prod(np.where(sign < 0, p, 1 - p)))
    a, b = prior.mean * prior.strength, (1 - prior.mean) * prior.strength
    return total + (a * np.log(skill_K) + b * np.log1p(-skill_K)).sum()


def curvature(votes, prior, at_K, step=1e-3):
    """Minus the Hessian by central differences."""
    count = len(at_K)
    found = np.zeros((count, count))
    for i, j in itertools.product(range(count), repeat=2):
        for one, other in itertools.product((-1, 1), repeat=2):
            shift = np.zeros(count)
            shift[i] += one * step
            shift[j] += other * step
            found[i, j] -= one * other * log_posterior(at_K + shift, votes, prior) / (4 * step**2)
    return found


@pytest.fixture
def fitted(coin_world):
    votes = coin_world(np.array([0.9, 0.8, 0.7, 0.3, 0.6]), pairs=60, each=3, ties=0.0).votes
    prior = Population(0.7, 4.0)
    return votes, prior, one_coin(votes, prior)


def test_em_stops_where_the_posterior_is_flat(fitted):
    votes, prior, found = fitted
    at_K = logit(found.skill_K)
    for k in range(votes.raters):
        shift = np.eye(votes.raters)[k] * 1e-4
        slope = (log_posterior(at_K + shift, votes, prior) - log_posterior(at_K - shift, votes, prior)) / 2e-4
        assert abs(slope) < 1e-3


def test_intervals_are_those_of_the_inverse_curvature(fitted):
    votes, prior, found = fitted
    variance_K = np.diagonal(np.linalg.inv(curvature(votes, prior, logit(found.skill_K))))
    width_K = logit(found.high_K) - logit(found.low_K)
    assert width_K == pytest.approx(2 * 1.959964 * np.sqrt(variance_K), rel=1e-3)


def test_with_many_raters_the_series_comes_near(monkeypatch, coin_world):
    votes = coin_world(np.full(60, 0.8), pairs=400, each=5, ties=0.0).votes
    exact = one_coin(votes)
    monkeypatch.setattr(information, "DENSE", 0)
    assert one_coin(votes).effective_K == pytest.approx(exact.effective_K, rel=0.1)


def test_a_bounded_number_of_products_at_a_time_changes_nothing(monkeypatch, coin_world):
    import sandwiching.reward_model.reliability.overlap as overlap

    votes = coin_world(np.full(9, 0.8), pairs=50, each=4, ties=0.0).votes
    score_EC = np.random.default_rng(0).normal(size=(len(votes), 2))
    arguments = (votes, np.full(9, 50.0), score_EC, np.full((votes.pairs, 2), 0.5))
    whole = marginal_information(*arguments)
    monkeypatch.setattr(overlap, "CHUNK", 70)
    assert marginal_information(*arguments) == pytest.approx(whole)
