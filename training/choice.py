"""Which of the sampled pairs are judged next: some at random, or those on which a reward ensemble disagrees most.

pairs.jsonl.gz, judgements so far (, members of the round before) -> pairs.jsonl.gz of the same format, fewer rows
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from sandwiching.configs.schema import LabelsConfig, ModelConfig, ResourcesConfig
from sandwiching.policy.tokenization import load_tokenizer
from sandwiching.reward_model.selection import preference_variance
from sandwiching.tasks.readers import read_judgements
from sandwiching.tasks.splits import rank
from sandwiching.training.artifacts import StageFolder
from sandwiching.training.judgements import FILE as JUDGEMENTS
from sandwiching.training.pairs import SampledPair, copy_pairs, read_pairs
from sandwiching.training.roles import Roles, ScorerSpec
from sandwiching.training.text_scores import Scored, member_scores


def choose_pairs(
    *,
    model: ModelConfig,
    labels: LabelsConfig,
    seed: int,
    resources: ResourcesConfig,
    parents: Mapping[str, Path],
    folder: StageFolder,
    roles: Roles,
) -> dict[str, float]:
    """Write pairs.jsonl.gz: labels.pairs_per_round of the parent's pairs that have not been judged yet.

    Raises ValueError when all have been.
    """
    assert labels.pairs_per_round is not None
    before = read_judgements(parents["judgements"] / JUDGEMENTS) if "judgements" in parents else []
    pairs = read_pairs(parents["pairs"])
    left = unjudged(pairs, {row.judgement.pair for row in before})
    variance_P = None
    if labels.choose == "variance":
        members = [path / "model" for name, path in sorted(parents.items()) if name.startswith("reward_model/")]
        variance_P = preference_variance(differences(members, left, model, roles))
    chosen = next_pairs(left, labels.pairs_per_round, seed, variance_P)
    copy_pairs(parents["pairs"], folder.path, {pair.id for pair, _, _ in chosen})
    metrics: dict[str, float] = {"choice/pairs": len(chosen), "choice/unjudged": len(left) - len(chosen)}
    if variance_P is not None:
        metrics["choice/variance"] = variance_P.topk(len(chosen)).values.mean().item()
        metrics["choice/variance_of_all"] = variance_P.mean().item()
    return metrics


def unjudged(pairs: Sequence[SampledPair], judged: set[str | None]) -> list[SampledPair]:
    """Pairs that are in no judgement so far. Raises ValueError when there are none left."""
    left = [one for one in pairs if one[0].id not in judged]
    if not left:
        raise ValueError(
            f"labels: all {len(pairs)} pairs have been judged; set fewer labels.rounds or labels.pairs_per_round, "
            "or more pairs.samples or pairs.max_prompts"
        )
    return left


def next_pairs(
    pairs: Sequence[SampledPair], count: int, seed: int, variance_P: Tensor | None = None
) -> list[SampledPair]:
    """`count` pairs (all where there are fewer), in their own order: of highest variance, else by hash of (seed, id).

    The hash decides between pairs of equal variance too, so that no order of the pairs matters.
    """
    ranks = [rank(f"labels {seed}", pair.id) for pair, _, _ in pairs]
    value = [0.0] * len(pairs) if variance_P is None else variance_P.tolist()
    places = sorted(range(len(pairs)), key=lambda place: (-value[place], ranks[place]))[:count]
    return [pairs[place] for place in sorted(places)]


def differences(members: Sequence[Path], pairs: Sequence[SampledPair], model: ModelConfig, roles: Roles) -> Tensor:
    """Raw score of a, less that of b, by each member [K, P]; each text is scored once."""
    texts = {one: place for place, one in enumerate(dict.fromkeys(text for pair in pairs for text in _sides(pair)))}
    scorer = roles.scorer(ScorerSpec(tuple(members), None, model, temperature=1.0))
    tokenizer = load_tokenizer(members[0], model.pad_token)
    scores_KB = member_scores(scorer, tokenizer, model.separator, [_text(key) for key in texts])
    # Probabilities are of raw scores: the unit of each member goes back in.
    unit_K = torch.tensor([json.loads((member / "config.json").read_text())["reward_std"] for member in members])
    place_P2 = torch.tensor([[texts[side] for side in _sides(pair)] for pair in pairs])
    return (scores_KB[:, place_P2[:, 0]] - scores_KB[:, place_P2[:, 1]]) * unit_K[:, None]


def _sides(pair: SampledPair) -> tuple[str, str]:
    """Both texts as keys: chat messages cannot be hashed."""
    one, finished_a, finished_b = pair
    prompt = one.prompt.text
    return json.dumps([prompt, one.response_a, finished_a]), json.dumps([prompt, one.response_b, finished_b])


def _text(key: str) -> Scored:
    prompt, response, finished = json.loads(key)
    return Scored(prompt if isinstance(prompt, str) else tuple(prompt), response, finished)
