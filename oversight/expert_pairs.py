"""Pairs with an expert verdict, and what predicts it: a reward model, length, a weak vote, the weak majority.

Every outcome is 1 for the expert's preference, 0 for the other, 1/2 for a tie of the predictor.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np
from transformers import PreTrainedTokenizerBase

from sandwiching.configs.schema import CheckConfig, DataConfig, ModelConfig
from sandwiching.oversight.items import held_out_split
from sandwiching.oversight.spread import Array
from sandwiching.policy.tokenization import encode
from sandwiching.tasks.judgements import JudgementsFile
from sandwiching.tasks.judgements_gold import judged_by_all
from sandwiching.tasks.readers import JudgementRow
from sandwiching.training.text_scores import Scored


@dataclass(frozen=True, slots=True)
class ExpertPair:
    """Two responses, the one that most experts prefer first.

    weak_votes: 1, 0 or 1/2 for the first, of weak raters who are not among the experts on this pair.
    """

    better: Scored
    worse: Scored
    group: str
    weak_votes: tuple[float, ...]


@dataclass(slots=True)
class _Votes:
    first: Scored
    second: Scored
    group: str
    expert: dict[str, list[float]] = field(default_factory=dict)
    weak: dict[str, list[float]] = field(default_factory=dict)


def held_out_rows(file: JudgementsFile, check: CheckConfig) -> list[JudgementRow]:
    """Judgements of both tiers on the prompts of check.split."""
    return judged_by_all(file, held_out_split(check))


def expert_pairs(rows: Iterable[JudgementRow]) -> list[ExpertPair]:
    """Judgements of both tiers joined by prompt and responses, whichever stood first; in order of appearance.

    Left out: pairs without an expert, pairs on which the experts are level, and pairs of equal texts.
    Raises ValueError when a judgement has no group, or nothing is left.
    """
    found: dict[str, _Votes] = {}
    for row in rows:
        judged = row.judgement
        if judged.group is None:
            raise ValueError(f"check: the judgement of {judged.prompt!r:.60} has no group to hold out by")
        a = Scored(judged.prompt, judged.response_a, row.finished_a)
        b = Scored(judged.prompt, judged.response_b, row.finished_b)
        turned = b.response < a.response
        key = json.dumps([judged.prompt, *sorted((a.response, b.response))])
        votes = found.setdefault(key, _Votes(b if turned else a, a if turned else b, judged.group))
        for_a = {"a": 1.0, "b": 0.0, "tie": 0.5}[judged.preference]
        tier = votes.expert if judged.tier == "expert" else votes.weak
        tier.setdefault(judged.rater, []).append(1 - for_a if turned else for_a)
    pairs = [pair for votes in found.values() if (pair := _decided(votes)) is not None]
    if not pairs:
        raise ValueError("check: no pair of the split has an expert verdict: look at data.splits and the tier column")
    return pairs


def _decided(votes: _Votes) -> ExpertPair | None:
    """The pair with the experts' majority first; None when there is none."""
    expert = fmean(_sign(fmean(own)) for own in votes.expert.values()) if votes.expert else 0.5
    if expert == 0.5 or votes.first.response == votes.second.response:
        return None
    weak = [vote for rater, own in votes.weak.items() if rater not in votes.expert for vote in own]
    if expert > 0.5:
        return ExpertPair(votes.first, votes.second, votes.group, tuple(weak))
    return ExpertPair(votes.second, votes.first, votes.group, tuple(1 - vote for vote in weak))


def _sign(mean: float) -> float:
    """1, 0 or 1/2: on which side of level a mean vote is."""
    return (mean > 0.5) + (mean == 0.5) / 2


def fitting_pairs(
    pairs: list[ExpertPair], tokenizer: PreTrainedTokenizerBase, model: ModelConfig, data: DataConfig
) -> tuple[list[ExpertPair], int]:
    """Pairs whose texts fit model.max_length, as in training, and how many do not.

    Raises ValueError when some do not and data.too_long is error, or none is left.
    """

    def fits(text: Scored) -> bool:
        ids = encode(tokenizer, text.prompt, text.response, text.finished, model.separator)
        return sum(map(len, ids)) <= model.max_length

    kept = [pair for pair in pairs if fits(pair.better) and fits(pair.worse)]
    too_long = len(pairs) - len(kept)
    if too_long and (data.too_long == "error" or not kept):
        raise ValueError(
            f"check: {too_long} of {len(pairs)} expert pairs have a text longer than model.max_length="
            f"{model.max_length} tokens: raise it, or set data.too_long: drop"
        )
    return kept, too_long


def longer_right(pairs: Sequence[ExpertPair]) -> Array:
    """The longer response, in characters, wins [N]."""
    return outcome(np.array([[len(pair.better.response), len(pair.worse.response)] for pair in pairs], dtype=float))


def single_vote_right(pairs: Sequence[ExpertPair]) -> Array:
    """What one weak vote drawn at random gets right, in expectation [N]; every pair needs a weak vote."""
    return np.array([fmean(pair.weak_votes) for pair in pairs])


def majority_right(pairs: Sequence[ExpertPair]) -> Array:
    """The weak majority [N]; every pair needs a weak vote."""
    return np.array([_sign(fmean(pair.weak_votes)) for pair in pairs])


def outcome(scores_N2: Array) -> Array:
    """From scores of (better, worse) to outcomes [N]."""
    return (np.sign(scores_N2[:, 0] - scores_N2[:, 1]) + 1) / 2
