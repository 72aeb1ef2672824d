"""The check's results item by item, as arrays to reason about and as the JSON that later analyses read again.

Shapes: S training seeds, N items. Every outcome but KL (nats a sequence) is a share in 0..1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sandwiching.oversight.choice import chosen_right, pairs_right
from sandwiching.oversight.spread import Array

FLOOR = "floor"
RATERS = "raters"
MEASURES = ("free", "forced", "approval")


@dataclass(frozen=True, slots=True)
class Outcomes:
    """`policies[name][measure]` is [S, N]; `line[measure]` is [N] for forced and pairs.

    measures: free, forced, pairs, approval, kl (from the policy that PPO began with; 0 for the floor).
    Attributes per item: groups, kinds, cells, chance (of a forced choice).
    """

    policies: dict[str, dict[str, Array]]
    line: dict[str, Array]
    groups: list[str]
    kinds: list[str]
    cells: list[str]
    chance: Array
    seeds: list[int]

    def where(self, keep: Sequence[bool]) -> Outcomes:
        """Only the items marked in `keep`."""
        mask = np.asarray(keep, dtype=bool)

        def kept(values: list[str]) -> list[str]:
            return [value for value, stays in zip(values, mask, strict=True) if stays]

        return Outcomes(
            policies={
                name: {measure: values[:, mask] for measure, values in measures.items()}
                for name, measures in self.policies.items()
            },
            line={measure: values[mask] for measure, values in self.line.items()},
            groups=kept(self.groups),
            kinds=kept(self.kinds),
            cells=kept(self.cells),
            chance=self.chance[mask],
            seeds=self.seeds,
        )


def policy_name(name: str, seed: int) -> str:
    """Key of a policy's answers in the record: weak/seed0."""
    return f"{name}/seed{seed}"


def outcomes(record: Mapping[str, Any]) -> Outcomes:
    """The arrays of the record of a check (see check.py for its layout)."""
    items, seeds = record["items"], record["seeds"]

    def stacked(name: str) -> dict[str, Array]:
        answers = [record["policies"][policy_name(name, seed)] for seed in seeds]
        return {
            "free": np.array([[np.mean(row) for row in one["correct"]] for one in answers]),
            "forced": np.array([[chosen_right(row) for row in one["logprobs"]] for one in answers]),
            "pairs": np.array([[pairs_right(row) for row in one["logprobs"]] for one in answers]),
            "approval": np.array([[np.mean(row) for row in one["approvals"]] for one in answers]),
            "kl": np.array([[np.mean(row) for row in one["kl"]] for one in answers]),
        }

    return Outcomes(
        policies={name: stacked(name) for name in (FLOOR, *record["arms"])},
        line={
            measure: np.array([np.mean(answers[measure]) for answers in record["raters"]])
            for measure in ("forced", "pairs")
        },
        groups=[item["group"] for item in items],
        kinds=[item["kind"] for item in items],
        cells=[item["cell"] for item in items],
        chance=np.array([1 / len(item["candidates"]) for item in items]),
        seeds=list(seeds),
    )
