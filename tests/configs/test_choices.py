"""Names that a config may give are the names that the code knows; configs/ itself may not import that code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from sandwiching.configs.ranges import CHOICES
from sandwiching.policy.advantages import ADVANTAGES
from sandwiching.policy.kl import KL_CONTROLLERS, KL_ESTIMATORS
from sandwiching.policy.losses import MISSING_EOS
from sandwiching.reward_model.ensemble import BOOTSTRAP, COMBINE
from sandwiching.reward_model.losses import NOISE
from sandwiching.tasks.facts import KINDS as FACTS
from sandwiching.tasks.planted_world import VALUES
from sandwiching.tasks.records import SPLITS, TIERS
from sandwiching.tasks.schemas import SCHEMAS
from sandwiching.training.devices import DTYPES
from sandwiching.training.reward_model import KINDS
from sandwiching.training.schedule import SCHEDULES

TABLES: dict[str, Mapping[str, Any]] = {
    "CapitalsTask.kinds": FACTS,
    "PlantedTask.kinds": VALUES,
    "DataConfig.format": SCHEMAS,
    "ModelConfig.precision": DTYPES,
    "OptimizerConfig.scheduler": SCHEDULES,
    "RewardModelConfig.kind": KINDS,
    "RewardModelConfig.bootstrap": BOOTSTRAP,
    "RewardModelConfig.combine": COMBINE,
    "RewardModelConfig.noise": NOISE,
    "KLConfig.estimator": KL_ESTIMATORS,
    "KLConfig.controller": KL_CONTROLLERS,
    "PPOConfig.advantage": ADVANTAGES,
    "PPOConfig.missing_eos": MISSING_EOS,
}


@pytest.mark.parametrize("setting", sorted(TABLES))
def test_choices_are_the_names_of_the_functions(setting: str) -> None:
    assert set(CHOICES[setting]) == set(TABLES[setting])


def test_tiers_and_splits() -> None:
    assert CHOICES["ArmConfig.tier"] == CHOICES["DataConfig.tier"] == TIERS
    assert set(CHOICES["CheckConfig.split"]) == set(SPLITS) - {"train"}
