"""Whether a run fits, before anything is loaded."""

import pytest

from sandwiching.configs.schema import ResourcesConfig
from sandwiching.launch.placement import Bundle, DoesNotFit, bundles, check_fits


def test_colocated_roles_share_a_bundle_a_rank() -> None:
    resources = ResourcesConfig(cpus=8, gpus=4, learner_ranks=4, rollout_engines=2)
    assert bundles(resources) == [Bundle(cpus=2, gpus=1)] * 4


def test_roles_apart_get_a_bundle_each() -> None:
    resources = ResourcesConfig(cpus=8, gpus=8, learner_ranks=4, rollout_engines=3, colocate=False)
    assert bundles(resources) == [Bundle(cpus=1, gpus=1)] * 8


def test_an_engine_over_several_gpus_gets_them_all() -> None:
    resources = ResourcesConfig(cpus=8, gpus=8, learner_ranks=3, rollout_engines=2, colocate=False)
    resources.vllm.tensor_parallel = 2
    one, two = Bundle(cpus=1, gpus=1), Bundle(cpus=2, gpus=2)
    assert bundles(resources) == [one, one, one, two, two, one]


@pytest.mark.parametrize(
    ("available", "missing"), [({"CPU": 2.0}, "needs 3 GPUs, there are 0"), ({"CPU": 1.0, "GPU": 3.0}, "needs 2 CPUs")]
)
def test_what_is_missing_is_said(available: dict[str, float], missing: str) -> None:
    with pytest.raises(DoesNotFit, match=missing):
        check_fits(ResourcesConfig(cpus=2, gpus=3), available)
