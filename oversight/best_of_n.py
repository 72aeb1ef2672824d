"""Best-of-n: of n samples of the floor, the one that an arm's reward models score highest. No training at all.

From P samples, the mean over all subsets of n without drawing any (unbiased; Nakano et al., arXiv 2112.09332, appendix
I): sample i is the best of C(i - 1, n - 1) subsets when it is the i-th lowest. Samples with equal scores share what
they win. Shapes: S seeds, N items, P samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sandwiching.oversight.intervals import Interval, mean_interval, share_interval
from sandwiching.oversight.outcomes import FLOOR, policy_name
from sandwiching.oversight.spread import Array


@dataclass(frozen=True, slots=True)
class Pool:
    """The floor's samples [S, N, P]: score by an arm's reward models, right by gold, share of raters who approve."""

    score: Array
    right: Array
    approved: Array


@dataclass(frozen=True, slots=True)
class BestOfN:
    """n samples; kl_bound: nats, at most so far from the floor. Each measure with its gain over one sample."""

    n: int
    kl_bound: float
    score: Interval
    free: Interval
    approval: Interval
    gain_score: Interval
    gain_free: Interval
    gain_approval: Interval


def kl_bound(n: int) -> float:
    """log n - (n - 1) / n nats: the KL of best-of-n when no two samples tie, otherwise above it (Beirami et al.,
    arXiv 2401.01879)."""
    return math.log(n) - (n - 1) / n


def best_shares(score_P: Array, n: int) -> Array:
    """P(sample i is the best of n samples drawn from all P without replacement) [..., P]; ties are drawn among.

    Raises ValueError unless 1 <= n <= P.
    """
    count = score_P.shape[-1]
    if not 1 <= n <= count:
        raise ValueError(f"best of {n}: there are {count} samples, so n must be from 1 to {count}")
    subsets = np.array([math.comb(k, n) for k in range(count + 1)], dtype=float)
    below_P = (score_P[..., None, :] < score_P[..., :, None]).sum(-1)
    upto_P = (score_P[..., None, :] <= score_P[..., :, None]).sum(-1)
    return (subsets[upto_P] - subsets[below_P]) / (upto_P - below_P) / subsets[count]


def best_of_n(score_P: Array, value_P: Array, n: int) -> Array:
    """Expected value [...] of the sample with the highest score among n."""
    return (best_shares(score_P, n) * value_P).sum(-1)


def sizes(samples: int) -> list[int]:
    """The n that are shown: all up to 8, then doubled, and all samples."""
    doubled = [2**power for power in range(4, samples.bit_length())]
    return sorted({*range(1, min(samples, 8) + 1), *(n for n in doubled if n <= samples), samples})


def pool(record: Mapping[str, Any], arm: str) -> Pool:
    """Of the record of a check."""
    seeds = record["seeds"]
    floors = [record["policies"][policy_name(FLOOR, seed)] for seed in seeds]
    drawn = [floor.get("pool", floor) for floor in floors]
    return Pool(
        score=np.array([record["rewards"][policy_name(arm, seed)]["pool"] for seed in seeds]),
        right=np.array([one["correct"] for one in drawn], dtype=float),
        approved=np.array([one["approvals"] for one in drawn], dtype=float).mean(3),
    )


def best_of_n_rows(pool: Pool, groups: Sequence[str], confidence: float) -> list[BestOfN]:
    """By n, from a single sample on."""
    measures = {"score": pool.score, "free": pool.right, "approval": pool.approved}
    rows = []
    for n in sizes(pool.score.shape[-1]):
        found: dict[str, Interval] = {}
        for name, value_SNP in measures.items():
            best_SN = best_of_n(pool.score, value_SNP, n)
            found[name] = (mean_interval if name == "score" else share_interval)(best_SN, groups, confidence)
            found[f"gain_{name}"] = mean_interval(best_SN - value_SNP.mean(2), groups, confidence)
        rows.append(BestOfN(n=n, kl_bound=kl_bound(n), **found))
    return rows
