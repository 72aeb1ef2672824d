"""Which policies a check asks."""

import pytest

from sandwiching.configs.schema import CheckConfig, ModelConfig
from sandwiching.oversight.policies import find_policies
from sandwiching.policy.base_models import resolve

MODEL, CHECK = ModelConfig(path="tiny"), CheckConfig()


@pytest.fixture
def parents(tmp_path):
    return {"sft/seed0": tmp_path / "sft", "ppo/weak/seed0": tmp_path / "ppo"}


def test_an_arm_without_a_policy_is_refused(parents):
    with pytest.raises(ValueError, match=r"arms.best: there is no ppo/best/seed0 .*best-of-n needs no arm"):
        find_policies(MODEL, CHECK, ["weak", "best"], [0], parents)
    with pytest.raises(ValueError, match=r"arms\.floor"):
        find_policies(MODEL, CHECK, ["floor"], [0], parents)
    with pytest.raises(ValueError, match=r"check\.floor"):
        find_policies(MODEL, CheckConfig(floor="weak"), ["weak"], [0], parents)


def test_without_sft_the_base_model_is_the_floor(parents):
    found = find_policies(MODEL, CHECK, ["weak"], [0], {"ppo/weak/seed0": parents["ppo/weak/seed0"]})
    assert found.models["floor", 0] == resolve("tiny")
