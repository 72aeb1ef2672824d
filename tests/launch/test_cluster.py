"""Whether a run fits, before anything is loaded."""

import pytest

from sandwiching.configs.schema import ResourcesConfig
from sandwiching.launch.cluster import Bundle, DoesNotFit, bundles, check_fits


def test_colocated_roles_share_a_bundle_a_rank() -> None:
    resources = ResourcesConfig(cpus=8, gpus=4, learner_ranks=4, rollout_engines=2)
    assert bundles(resources) == [Bundle(cpus=2, gpus=1)] * 4


def test_roles_apart_get_a_bundle_each() -> None:
    resources = ResourcesConfig(cpus=8, gpus=8, learner_ranks=4, rollout_engines=3, colocate=False)
    assert bundles(resources) == [Bundle(cpus=1, gpus=1)] * 8


@pytest.mark.parametrize(
    ("available", "missing"), [({"CPU": 2.0}, "needs 3 GPUs, there are 0"), ({"CPU": 1.0, "GPU": 3.0}, "needs 2 CPUs")]
)
def test_what_is_missing_is_said(available: dict[str, float], missing: str) -> None:
    with pytest.raises(DoesNotFit, match=missing):
        check_fits(ResourcesConfig(cpus=2, gpus=3), available)
