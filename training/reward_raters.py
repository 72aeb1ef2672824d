"""What a reward model learns of its raters beside the scores (reward_model/rater_noise.py): built, trained, written."""

from __future__ import annotations

import json
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sandwiching.configs.schema import RewardModelConfig
from sandwiching.policy.packing import Packing
from sandwiching.reward_model.columns import JudgementColumns
from sandwiching.reward_model.losses import LEARNED
from sandwiching.reward_model.rater_noise import NoisePrior, RaterContext, RaterNoise
from sandwiching.training import distributed
from sandwiching.training.artifacts import write_atomic
from sandwiching.training.readout import last_token_scores
from sandwiching.training.reward_member import STAGE, LossTerms, Member

FILE = "rater_errors.json"
NAME = "rater_noise"
"""Of the submodule that a trained model has for the time of its training."""


def make_rater_noise(columns: JudgementColumns, terms: LossTerms, config: RewardModelConfig) -> RaterNoise | None:
    """At its start, for training judgements; None where nothing is learned of raters."""
    if terms.noise not in LEARNED:
        return None
    votes_G = torch.bincount(columns.group_E, terms.weight_E.double(), minlength=len(columns.group_names))
    prior = NoisePrior(config.smoothing, config.rater_spread)
    return RaterNoise(rater_votes(columns, terms), votes_G, prior, context=terms.noise == "per_rater_context")


def rater_votes(columns: JudgementColumns, terms: LossTerms) -> Tensor:
    """Weight of each rater's training judgements [K] fp64."""
    return torch.bincount(columns.rater_E, terms.weight_E.double(), minlength=len(columns.rater_names))


def scores_and_errors(model: nn.Module, texts: Packing, context: RaterContext) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Raw score of each text [B], and of each judgement log-odds of an error, lean to a [E] and the negative log-prior.

    One forward pass of one module, as DeepSpeed wants: under ZeRO-3 it gathers what each part needs.
    """
    logit_E, lean_E, penalty = model.get_submodule(NAME)(context)
    return last_token_scores(model, texts), logit_E, lean_E, penalty


def split_off(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take what belongs to the raters out of all trained weights; returns it under its names in RaterNoise."""
    prefix = f"{NAME}."
    return {name.removeprefix(prefix): weights.pop(name) for name in list(weights) if name.startswith(prefix)}


def trained_noise(member: Member, weights: Mapping[str, Tensor]) -> RaterNoise:
    """With the trained fp32 parameters."""
    noise = make_rater_noise(member.data.train, member.terms, member.config)
    assert noise is not None
    noise.load_state_dict(dict(weights))
    return noise


def write_rater_errors(member: Member, noise: RaterNoise) -> dict[str, float]:
    """rater_errors.json: rates, leans and number of judgements by rater. Returns its metrics.

    They are the population's error rate, and how many raters err more often than not.
    """
    columns, terms = member.data.train, member.terms
    found = {"noise": terms.noise, **noise.rates(columns, rater_votes(columns, terms), terms.length_unit)}
    if distributed.rank() == 0:
        write_atomic(member.folder.path / FILE, json.dumps(found, indent=1) + "\n")
    return {
        f"{STAGE}/population_error": found["population"]["error"],
        f"{STAGE}/raters_above_half": float(sum(row["error"] > 0.5 for row in found["raters"].values())),
    }
