"""Agreement with experts on held-out pairs: of reward models, and of what they have to beat."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sandwiching.oversight.expert_pairs import (
    ExpertPair,
    longer_right,
    majority_right,
    outcome,
    single_vote_right,
)
from sandwiching.oversight.intervals import Interval, mean_interval, share_interval
from sandwiching.oversight.spread import Array
from sandwiching.training.text_scores import Score, Scored

LONGER, VOTE, MAJORITY = "the longer one", "one weak vote", "weak majority"


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement with the experts: of each arm and baseline, and of each arm over each baseline on the same pairs."""

    accuracy: dict[str, Interval]
    over: dict[str, dict[str, Interval]]
    covers: str


def agreement(pairs: Sequence[ExpertPair], arms: Mapping[str, Array], confidence: float) -> Agreement:
    """arms: outcomes [S, N] by name. The weak baselines are measured on the pairs that have weak votes."""
    voted = np.array([bool(pair.weak_votes) for pair in pairs])
    groups = np.array([pair.group for pair in pairs])
    with_votes = [pair for pair in pairs if pair.weak_votes]
    everything = np.ones(len(pairs), dtype=bool)
    baselines = {LONGER: (longer_right(pairs), everything)}
    if with_votes:
        baselines |= {VOTE: (single_vote_right(with_votes), voted), MAJORITY: (majority_right(with_votes), voted)}

    def share(values_SN: Array, kept: NDArray[np.bool_]) -> Interval:
        return share_interval(values_SN, groups[kept].tolist(), confidence)

    def difference(values_SN: Array, kept: NDArray[np.bool_]) -> Interval:
        return mean_interval(values_SN, groups[kept].tolist(), confidence)

    accuracy = {name: share(values_N[None], kept) for name, (values_N, kept) in baselines.items()}
    accuracy |= {name: share(values_SN, everything) for name, values_SN in arms.items()}
    over = {
        name: {
            baseline: difference(values_SN[:, kept] - values_N, kept)
            for baseline, (values_N, kept) in baselines.items()
        }
        for name, values_SN in arms.items()
    }
    return Agreement(accuracy, over, next(accuracy[name].covers for name in [*arms, LONGER]))


def arm_outcomes(pairs: Sequence[ExpertPair], score: Score) -> list[float]:
    """Outcomes [N] of one reward ensemble; each text is scored once."""
    texts = list(dict.fromkeys(_key(text) for pair in pairs for text in (pair.better, pair.worse)))
    scores = dict(zip(texts, score([_text(key) for key in texts]).tolist(), strict=True))
    return outcome(np.array([[scores[_key(pair.better)], scores[_key(pair.worse)]] for pair in pairs])).tolist()


def _key(text: Scored) -> str:
    return json.dumps([text.prompt, text.response, text.finished])


def _text(key: str) -> Scored:
    prompt, response, finished = json.loads(key)
    return Scored(prompt if isinstance(prompt, str) else tuple(prompt), response, finished)
