"""Rounds of labels in one process: the stages' own choice, raters and probes, on features that are computed once.

No model is written: a round costs a fit, not a forward pass over all texts for every member. `sandwich raters curve`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase
from trl.trainer.reward_trainer import suppress_seqcls_warning

from sandwiching.configs.schema import Config, ModelConfig
from sandwiching.oversight.expert_pairs import ExpertPair, outcome
from sandwiching.policy.loading import load_score_model
from sandwiching.policy.tokenization import encode
from sandwiching.reward_model.ensemble import COMBINE
from sandwiching.reward_model.normalise import reference_statistics
from sandwiching.reward_model.selection import preference_variance
from sandwiching.tasks.readers import JudgementRow
from sandwiching.tasks.records import Text, Tier
from sandwiching.training.choice import next_pairs, unjudged
from sandwiching.training.devices import compute_dtype, default_device
from sandwiching.training.judgements import ask, raters_of
from sandwiching.training.pairs import SampledPair
from sandwiching.training.readout import last_token_hidden, read_texts
from sandwiching.training.reward_data import reward_data
from sandwiching.training.reward_member import loss_terms, member_seed
from sandwiching.training.reward_probe import fitted_head


@dataclass(frozen=True, slots=True)
class Spent:
    """After one round: labels so far, their cost, and what the ensemble gets right of each gold pair [N]."""

    labels: int
    units: float
    outcomes: list[float]


@dataclass(slots=True)
class Features:
    """Hidden state at the last token of each text, by its token ids."""

    tokenizer: PreTrainedTokenizerBase
    model: ModelConfig
    rows: dict[tuple[int, ...], Tensor] = field(default_factory=dict)

    def ids(self, prompt: Text, response: str, finished: bool) -> tuple[int, ...]:
        """A text as the reward model reads it."""
        before, after = encode(self.tokenizer, prompt, response, finished, self.model.separator)
        return tuple(before + after)

    def read(self, trunk: Path, texts: Sequence[tuple[int, ...]], micro_batch: int) -> None:
        """Compute what is not known yet."""
        new = [ids for ids in dict.fromkeys(texts) if ids not in self.rows]
        if new:
            with suppress_seqcls_warning():
                model = load_score_model(trunk, compute_dtype(self.model.precision), num_labels=1)
            model.to(default_device())  # pyright: ignore[reportArgumentType]
            self.rows |= dict(zip(new, read_texts(last_token_hidden, model.eval(), new, micro_batch), strict=True))

    def of(self, texts: Sequence[tuple[int, ...]]) -> Tensor:
        """[N, D] fp32."""
        return torch.stack([self.rows[ids] for ids in texts])


def read_all(
    features: Features, trunk: Path, pairs: Sequence[SampledPair], gold: Sequence[ExpertPair], micro_batch: int
) -> None:
    """Features of everything that a seed's rounds and their check need."""
    sides = [side for pair in pairs for side in pool_sides(features, pair)]
    known = [features.ids(one.prompt, one.response, one.finished) for pair in gold for one in (pair.better, pair.worse)]
    features.read(trunk, [*sides, *known], micro_batch)


def pool_sides(features: Features, one: SampledPair) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Both texts of a sampled pair."""
    pair, finished_a, finished_b = one
    text = pair.prompt.text
    return features.ids(text, pair.response_a, finished_a), features.ids(text, pair.response_b, finished_b)


def spend(
    config: Config, arm: str, seed: int, pairs: Sequence[SampledPair], gold: Sequence[ExpertPair], features: Features
) -> list[Spent]:
    """All rounds of one arm and seed; config: as the arm sees it.

    Raises ValueError when the pairs run out.
    """
    labels, tier = config.labels, cast(Tier, config.arms[arm].tier)
    assert labels.pairs_per_round is not None
    raters = raters_of(config.task, config.data, seed, tier)
    rows: list[JudgementRow] = []
    heads_KD: Tensor | None = None
    found = []
    for _ in range(labels.rounds):
        left = unjudged(pairs, {row.judgement.pair for row in rows})
        variance_P = None
        if labels.choose == "variance" and heads_KD is not None:
            sides = [pool_sides(features, one) for one in left]
            delta_PD = features.of([a for a, _ in sides]) - features.of([b for _, b in sides])
            variance_P = preference_variance(heads_KD @ delta_PD.T)
        chosen = next_pairs(left, labels.pairs_per_round, seed, variance_P)
        rows += ask(raters, chosen, config.judgements.raters_per_pair, seed)
        heads_KD, scale_K2 = ensemble(config, rows, seed, features)
        found.append(
            Spent(len(rows), len(rows) * getattr(labels.cost, tier), right(config, heads_KD, scale_K2, gold, features))
        )
    return found


def ensemble(config: Config, rows: Sequence[JudgementRow], seed: int, features: Features) -> tuple[Tensor, Tensor]:
    """Heads [K, D] of the members, and mean and deviation of each one's scores of the judged texts [K, 2]."""
    reward = config.reward_model
    data = reward_data(rows, features.tokenizer, config.model, config.data.too_long, reward.dev_share, seed)
    features_ND = features.of(data.texts)
    heads, scales = [], []
    for member in range(reward.members):
        terms = loss_terms(data, reward, member_seed(seed, member))
        heads.append(fitted_head(features_ND, data.train, terms, reward)[0])
        scales.append(reference_statistics(features_ND @ heads[-1]))
    return torch.stack(heads), torch.tensor(scales)


def right(
    config: Config, heads_KD: Tensor, scale_K2: Tensor, gold: Sequence[ExpertPair], features: Features
) -> list[float]:
    """1 where the combined score of the right answer is the higher, 1/2 where both are equal [N]."""

    def combined_N(side: str) -> Tensor:
        texts = [getattr(pair, side) for pair in gold]
        raw_KN = heads_KD @ features.of([features.ids(one.prompt, one.response, one.finished) for one in texts]).T
        return COMBINE[config.reward_model.combine](
            (raw_KN - scale_K2[:, :1]) / scale_K2[:, 1:], config.reward_model.uwo_lambda
        )

    return outcome(np.stack([combined_N("better").numpy(), combined_N("worse").numpy()], axis=1)).tolist()
