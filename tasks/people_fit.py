"""Habits of real raters from their judgements: the logit of file_people.py by marginal maximum likelihood.

A vote on a pair with appeal b ~ N(0, 1):

    log-odds of `one` = competence_logit truth + appeal b + doubling_bias doublings + confidence_bias bolder
                        + position_bias side
    P(one) = (1 - lapse) sigmoid(log-odds - band) + lapse / 2;  ties lie in the band (Rao and Kupper, 1967)

b is integrated for each pair (Gauss-Hermite). Votes on a pair come from different raters, so that how much people
differ in their lapses changes nothing there; ability_spread is the one at which simulated raters differ as the real
ones do. Lapses that explain no more than chance would are left out: without strong evidence for one response, a random
click looks like a close call. Limits: robust covariance of the estimates, clustered by group. Shapes: R rows (votes
alike), B nodes of b.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from sandwiching.tasks.habits import lapses, logit
from sandwiching.tasks.votes import Votes, majority_of_others, rater_covariance, ratio

NODES = 15
SPREADS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
REPLICATES = 8
"""Simulated crowds a spread."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A habit, and its limits."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Fit:
    """Habits by their names in PeopleKind. clusters: groups that the limits allow for."""

    habits: dict[str, Estimate]
    votes: int
    pairs: int
    raters: int
    clusters: int


@dataclass(frozen=True, slots=True)
class _Link:
    """How a habit is written as a number without bounds: start, and back."""

    start: float
    back: Callable[[Tensor], Tensor]


def _identity(value: Tensor) -> Tensor:
    return value


LINKS: dict[str, _Link] = {
    "doubling_bias": _Link(0.1, _identity),
    "confidence_bias": _Link(0.0, _identity),
    "position_bias": _Link(0.0, _identity),
    "competence": _Link(0.3, torch.sigmoid),
    "appeal": _Link(0.0, torch.exp),
    "tie_band": _Link(-2.0, torch.exp),
    "lapse": _Link(-3.0, torch.sigmoid),
}


@dataclass(frozen=True, slots=True)
class _Rows:
    """Votes alike, counted: columns [R], and the pair of each row; groups of the pairs."""

    outcome_R: Tensor
    side_R: Tensor
    truth_R: Tensor
    doublings_R: Tensor
    bolder_R: Tensor
    count_R: Tensor
    pair_R: Tensor
    group_P: Tensor


def fit_habits(votes: Votes, critical: float, seed: int = 0) -> Fit:
    """Fit every habit that the votes can tell. critical: the t value of the limits, with groups - 1 degrees of freedom.

    Raises ValueError with fewer than two groups, which leave no limits, or without two votes on any pair.
    """
    if len(votes.groups) < 2:
        raise ValueError("raters fit: limits need judgements on at least two prompts, or groups of them")
    if np.bincount(votes.pair_V).max() < 2:
        raise ValueError("raters fit: no pair was judged twice, so that habits and the pairs' own appeal look alike")
    rows = _rows(votes)
    names = [name for name in LINKS if _tells(name, votes)]
    place = _maximum(rows, names, _starts(names))
    without = [name for name in names if name != "lapse"]
    other = _maximum(rows, without, _starts(without))
    gain = log_likelihood(rows, names, place).sum() - log_likelihood(rows, without, other).sum()
    if 2 * float(gain) <= math.log(votes.votes):  # the Bayesian information criterion
        names, place = without, other
    error = _errors(rows, names, place, len(votes.groups))
    low, value, high = (_back(names, place + shift * critical * error) for shift in (-1, 0, 1))
    habits = {name: Estimate(*three) for name, *three in zip(names, value, low, high, strict=True)}
    if "lapse" in habits:
        habits["ability_spread"] = _spread(votes, {name: one.value for name, one in habits.items()}, critical, seed)
    return Fit(habits, votes.votes, len(votes.pairs), len(votes.raters), len(votes.groups))


def _tells(habit: str, votes: Votes) -> bool:
    """Whether the votes hold anything about a habit."""
    columns = {
        "competence": votes.truth_P,
        "confidence_bias": votes.bolder_P,
        "doubling_bias": votes.doublings_P,
        "tie_band": votes.outcome_V == 0,
    }
    return bool(np.any(columns[habit])) if habit in columns else True


def _rows(votes: Votes) -> _Rows:
    keys = np.stack([votes.pair_V, votes.outcome_V, votes.side_V])
    (pair_R, outcome_R, side_R), count_R = np.unique(keys, axis=1, return_counts=True)
    numbers = (outcome_R, side_R, votes.truth_P[pair_R], votes.doublings_P[pair_R], votes.bolder_P[pair_R], count_R)
    return _Rows(
        *(torch.tensor(column, dtype=torch.float64) for column in numbers),
        pair_R=torch.tensor(pair_R),
        group_P=torch.tensor(votes.group_P),
    )


def _starts(names: Sequence[str]) -> Tensor:
    return torch.tensor([LINKS[name].start for name in names], dtype=torch.float64)


def _back(names: Sequence[str], place: Tensor) -> list[float]:
    return [float(LINKS[name].back(value)) for name, value in zip(names, place, strict=True)]


def _nodes(count: int) -> tuple[Tensor, Tensor]:
    """Nodes and log weights of a standard normal."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    return torch.tensor(nodes), torch.tensor(np.log(weights / weights.sum()))


def log_likelihood(rows: _Rows, names: Sequence[str], place: Tensor) -> Tensor:
    """Of each pair's votes [P], in nats."""
    zero = torch.zeros((), dtype=torch.float64)
    found = {name: LINKS[name].back(value) for name, value in zip(names, place, strict=True)}
    competence = place[names.index("competence")] if "competence" in names else zero
    habit = {name: found.get(name, zero) for name in LINKS}
    look_R = habit["doubling_bias"] * rows.doublings_R + habit["confidence_bias"] * rows.bolder_R
    look_R = look_R + habit["position_bias"] * rows.side_R
    b_B, weight_B = _nodes(NODES)
    logit_RB = competence * rows.truth_R[:, None] + habit["appeal"] * b_B + look_R[:, None]
    band, lapse = habit["tie_band"], habit["lapse"]
    one_RB, other_RB = torch.sigmoid(logit_RB - band), torch.sigmoid(-logit_RB - band)
    outcome = rows.outcome_R[:, None]
    found_RB = torch.where(outcome > 0, one_RB, torch.where(outcome < 0, other_RB, 1 - one_RB - other_RB))
    probability_RB = (1 - lapse) * found_RB + lapse / 2 * (outcome != 0)
    logs_RB = rows.count_R[:, None] * probability_RB.clamp_min(1e-300).log()
    sums_PB = torch.zeros(len(rows.group_P), NODES, dtype=torch.float64).index_add(0, rows.pair_R, logs_RB)
    return torch.logsumexp(sums_PB + weight_B, dim=1)


def _maximum(rows: _Rows, names: Sequence[str], start: Tensor) -> Tensor:
    place = start.clone().requires_grad_()
    search = torch.optim.LBFGS([place], max_iter=100, tolerance_grad=1e-7, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        value = -log_likelihood(rows, names, place).mean()
        value.backward()
        return value

    search.step(loss)  # pyright: ignore[reportArgumentType]
    return place.detach()


def _errors(rows: _Rows, names: Sequence[str], place: Tensor, groups: int) -> Tensor:
    """Standard errors of the numbers without bounds: the clustered sandwich."""
    place = place.clone().requires_grad_()
    hessian = torch.autograd.functional.hessian(lambda at: -log_likelihood(rows, names, at).sum(), place)
    assert isinstance(hessian, Tensor)
    values_P = log_likelihood(rows, names, place)
    sums_G = torch.zeros(groups, dtype=torch.float64).index_add(0, rows.group_P, values_P)
    scores = torch.stack([torch.autograd.grad(one, place, retain_graph=True)[0] for one in sums_G])
    inverse = torch.linalg.pinv(hessian)
    covariance = inverse @ (scores.T @ scores * groups / (groups - 1)) @ inverse
    return covariance.diagonal().clamp_min(0).sqrt()


def _spread(votes: Votes, habits: dict[str, float], critical: float, seed: int) -> Estimate:
    """The spread at which simulated raters differ as the real ones do."""
    real = ratio(*rater_covariance(votes, majority_of_others(votes)), critical)
    curve = []
    for spread in SPREADS:
        crowds = [simulated(votes, {**habits, "ability_spread": spread}, seed + one) for one in range(REPLICATES)]
        found = [ratio(*rater_covariance(crowd, majority_of_others(crowd)), critical).estimate for crowd in crowds]
        curve.append(float(np.mean(found)))
    return Estimate(*(_where(curve, target) for target in (real.estimate, real.low, real.high)))


def _where(curve: Sequence[float], target: float) -> float:
    """The spread at which the curve first reaches a value; the ends where it never does."""
    for (x, y), (next_x, next_y) in pairwise(zip(SPREADS, curve, strict=True)):
        if target <= y:
            return x
        if y < target <= next_y:
            return x + (next_x - x) * (target - y) / (next_y - y)
    return SPREADS[-1]


def simulated(votes: Votes, habits: dict[str, float], seed: int) -> Votes:
    """New verdicts of as many raters on the same pairs, by these habits."""
    draw = np.random.default_rng(seed)
    competence = habits.get("competence", 0.5)
    appeal_P = habits["appeal"] * draw.standard_normal(len(votes.pairs))
    look_P = habits.get("doubling_bias", 0.0) * votes.doublings_P + habits.get("confidence_bias", 0.0) * votes.bolder_P
    logit_P = logit(competence) * votes.truth_P + appeal_P + look_P
    latent_V = logit_P[votes.pair_V] + habits["position_bias"] * votes.side_V + draw.logistic(size=votes.votes)
    band = habits.get("tie_band", 0.0)
    outcome_V = (latent_V > band).astype(int) - (latent_V < -band).astype(int)
    lapse, spread = habits.get("lapse", 0.0), habits.get("ability_spread", 0.0)
    lapses_K = lapses(lapse, spread, draw.standard_normal(len(votes.raters)).tolist())
    lapse_V = draw.random(votes.votes) < np.array(lapses_K)[votes.rater_V]
    return votes.with_outcomes(np.where(lapse_V, draw.choice((-1, 1), votes.votes), outcome_V))
