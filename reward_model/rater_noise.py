"""How often each rater errs, learned beside the scores: log-odds of an error, and leans that have nothing to do with
which response is better.

    z = population + rater [+ group]          lean to a = length difference x rater's [+ side + rater's side]

All have normal priors, so that a rater who was seen little is taken for the population, and one who was not seen is it.
The population's log-odds stay below 0; a rater's may be above: an adversary. How much all raters lean to the longer
response cannot be told from what makes a response better: it has no parameter, and stays in the reward.

Shape suffixes: E judgements, K raters, G groups.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from sandwiching.reward_model.columns import JudgementColumns


@dataclass(frozen=True, slots=True)
class RaterContext:
    """Who judged, and what: rater_E, group_E int64 codes, length_E fp32 (see length_differences)."""

    rater_E: Tensor
    length_E: Tensor
    group_E: Tensor


@dataclass(frozen=True, slots=True)
class NoisePrior:
    """error: rate expected of the population, in (0, 1/2); spread: deviation of log-odds, between raters and of what
    the population's may be from that."""

    error: float
    spread: float


def length_differences(tokens_N: Tensor, columns: JudgementColumns) -> tuple[Tensor, float]:
    """Tokens of a less those of b [E] fp32 in units of their root mean square, and that unit (1 if all are alike)."""
    difference_E = (tokens_N[columns.text_a_E] - tokens_N[columns.text_b_E]).double()
    unit = difference_E.square().mean().sqrt().item() or 1.0
    return (difference_E / unit).float(), unit


class RaterNoise(nn.Module):
    """The parameters, all zero at first: population at prior.error, everybody alike.

    Each is held in units of its posterior's deviation for a typical loss a judgement: then one learning rate suits
    raters of three votes and of three thousand, and gradient descent is nearly Newton's.
    """

    def __init__(self, votes_K: Tensor, votes_G: Tensor, prior: NoisePrior, context: bool) -> None:
        """votes_K, votes_G: weight of the judgements of each rater and group."""
        super().__init__()
        self.prior = prior
        self.context = context
        total = votes_K.double().sum()
        self.judgements = float(total)
        # What one vote tells of its log-odds if the better response were known.
        told = prior.error * (1 - prior.error)

        def unit(votes: Tensor) -> Tensor:
            return (total / (votes.double() * told + prior.spread**-2)).sqrt().float().reshape(-1)

        # Plain tensors: a buffer would be rounded with the weights under bf16.
        self.units = {"population": unit(total), "raters": unit(votes_K)}
        if context:
            self.units |= {
                "longer": unit(votes_K),
                "side": unit(total),
                "sides": unit(votes_K),
                "groups": unit(votes_G),
            }
        for name, units in self.units.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(units.shape)))

    def values(self) -> dict[str, Tensor]:
        """Every parameter as log-odds, in at least fp32; `population` before its bound."""
        found = {}
        for name, parameter in self.named_parameters():
            exact = parameter if parameter.dtype == torch.float64 else parameter.float()
            found[name] = exact * self.units[name].to(exact)
        return found

    def forward(self, context: RaterContext) -> tuple[Tensor, Tensor, Tensor]:
        """Log-odds of an error [E], lean to a in log-odds [E], and the negative log-prior in nats, a scalar."""
        values = self.values()
        population, raters_K = self._population(values), values["raters"]
        spread = self.prior.spread
        penalty = (population - _log_odds(self.prior.error)).square().sum() + raters_K.square().sum()
        logit_E = population + raters_K[context.rater_E]
        lean_E = torch.zeros_like(logit_E)
        if self.context:
            logit_E = logit_E + values["groups"][context.group_E]
            lean_E = context.length_E * values["longer"][context.rater_E]
            lean_E = lean_E + values["side"] + values["sides"][context.rater_E]
            penalty = penalty + sum(values[name].square().sum() for name in ("longer", "side", "sides", "groups"))
        return logit_E, lean_E, 0.5 * penalty / spread**2

    def _population(self, values: Mapping[str, Tensor]) -> Tensor:
        """Below 0; at prior.error's where the parameter is 0."""
        start = math.log(math.expm1(-_log_odds(self.prior.error)))
        return -softplus(start + values["population"])

    @torch.no_grad()
    def rates(self, columns: JudgementColumns, votes_K: Tensor, unit: float) -> dict[str, Any]:
        """What was learned, as plain data for rater_errors.json (docs/reward_models.md); raters without a vote are left
        out, since they are the population."""
        values = {name: value.double() for name, value in self.values().items()}
        population = self._population(values)
        error_K = (population + values["raters"]).sigmoid()
        rows = {}
        for code in votes_K.nonzero().flatten().tolist():
            row = {"error": error_K[code].item(), "judgements": votes_K[code].item()}
            if self.context:
                row |= {"longer": values["longer"][code].item()}
                row |= {"side": (values["side"] + values["sides"][code]).item()}
            rows[columns.rater_names[code]] = row
        found: dict[str, Any] = {"population": {"error": population.sigmoid().item()}, "raters": rows}
        if self.context:
            found["population"] |= {"longer": 0.0, "side": values["side"].item()}
            groups = zip(columns.group_names, values["groups"].tolist(), strict=True)
            found |= {"groups": dict(groups), "tokens_a_unit": unit}
        return found


def error_rate(rates: Mapping[str, Any], rater: str) -> float:
    """A rater's error rate in what `RaterNoise.rates` gave; the population's where the rater was not seen."""
    return rates["raters"].get(rater, rates["population"])["error"]


def _log_odds(rate: float) -> float:
    return math.log(rate / (1 - rate))
