"""Which policies a check compares, and where their models lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandwiching.configs.schema import CheckConfig, ModelConfig
from sandwiching.oversight.outcomes import FLOOR, RATERS
from sandwiching.policy.base_models import resolve


@dataclass(frozen=True, slots=True)
class Policies:
    """`models[name, seed]` of the floor and of each arm; `starts[arm, seed]` that each arm's PPO began from, and its
    `artifacts[arm, seed]`."""

    models: dict[tuple[str, int], Path]
    starts: dict[tuple[str, int], Path]
    artifacts: dict[tuple[str, int], Path]


def find_policies(
    model: ModelConfig, check: CheckConfig, arms: Iterable[str], seeds: Sequence[int], parents: Mapping[str, Path]
) -> Policies:
    """The floor is the SFT policy of each seed, or the base model where there is no SFT.

    Raises ValueError for an arm without a trained policy or with a name that the check uses itself.
    """
    if check.floor != "sft":
        raise ValueError(f"check.floor: {check.floor!r} is not possible; gain is measured from the SFT policy: sft")
    models: dict[tuple[str, int], Path] = {}
    starts, artifacts = {}, {}

    def trunk(name: str) -> Path:
        return parents[name] / "model" if name in parents else resolve(model.path, model.revision)

    for seed in seeds:
        models[FLOOR, seed] = trunk(f"sft/seed{seed}")
        for arm in arms:
            starts[arm, seed] = trunk(f"sft/{arm}/seed{seed}")
            artifacts[arm, seed] = _trained(arm, seed, parents)
            models[arm, seed] = artifacts[arm, seed] / "model"
    return Policies(models, starts, artifacts)


def _trained(arm: str, seed: int, parents: Mapping[str, Path]) -> Path:
    place = f"ppo/{arm}/seed{seed}"
    if arm in (FLOOR, RATERS):
        raise ValueError(f"arms.{arm}: the check has a row of that name already; give the arm another")
    if place not in parents:
        raise ValueError(
            f"arms.{arm}: there is no {place} to check; an arm needs PPO (best-of-n needs no arm of its own: the check "
            "shows it for every arm's reward models)"
        )
    return parents[place]
