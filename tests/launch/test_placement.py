"""Whether a run fits, before anything is loaded."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandwiching.configs.schema import ResourcesConfig
from sandwiching.launch.placement import (
    Bundle,
    DoesNotFit,
    Node,
    bundles,
    check_fits,
    check_places,
    homeless,
    rank_bundles,
)


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


TWO = Bundle(cpus=2, gpus=0)
SMALL, LARGE = Node("small", 2, 0), Node("large", 4, 0)


@pytest.mark.parametrize(
    ("wanted", "nodes", "placement", "left"),
    [
        ([TWO] * 3, [SMALL, LARGE], "pack", 0),
        ([TWO] * 4, [SMALL, LARGE], "spread", 1),
        ([TWO] * 2, [SMALL, LARGE], "strict_spread", 0),
        ([TWO] * 3, [SMALL, LARGE], "strict_spread", 1),
        ([Bundle(3, 0), TWO], [LARGE, SMALL], "strict_spread", 0),
        ([Bundle(8, 0)], [LARGE, LARGE], "pack", 1),
        ([Bundle(1, 1)] * 2, [Node("cpu", 64, 0), Node("gpu", 8, 2)], "pack", 0),
        ([Bundle(1, 1)] * 2, [Node("cpu", 64, 0), Node("gpu", 8, 1)], "pack", 1),
        ([Bundle(1, 1), Bundle(1, 1), Bundle(2, 2)], [Node("a", 8, 2), Node("b", 8, 2)], "pack", 0),
        ([Bundle(1 / 3, 0)] * 3, [Node("one", 1, 0)], "pack", 0),
        ([TWO], [], "pack", 1),
    ],
)
def test_each_bundle_needs_a_node(wanted: list[Bundle], nodes: list[Node], placement: str, left: int) -> None:
    assert len(homeless(wanted, nodes, placement)) == left


@given(st.data())
def test_placing_is_exact_for_sizes_that_are_multiples(data: st.DataObject) -> None:
    rooms = data.draw(st.lists(st.integers(0, 6), min_size=1, max_size=3))
    sizes = data.draw(st.lists(st.sampled_from([1, 3]), min_size=1, max_size=4))
    strict = data.draw(st.booleans())
    choices = itertools.product(range(len(rooms)), repeat=len(sizes))
    possible = any(
        (not strict or len(set(choice)) == len(choice))
        and all(sum(size for size, at in zip(sizes, choice, strict=True) if at == i) <= rooms[i] for i in set(choice))
        for choice in choices
    )
    nodes = [Node(str(i), room, room) for i, room in enumerate(rooms)]
    wanted = [Bundle(size, size) for size in sizes]
    assert (homeless(wanted, nodes, "strict_spread" if strict else "pack") == []) == possible


def test_the_message_says_what_is_missing_and_what_each_node_has() -> None:
    with pytest.raises(DoesNotFit) as failure:
        check_places([TWO] * 3, [SMALL, LARGE], "strict_spread")
    said = str(failure.value)
    for words in ("3 bundles", "strict_spread", "1 of 2 CPUs", "small has 2 CPUs", "large has 4 CPUs", "Add nodes"):
        assert words in said


def test_ranks_of_worker_groups_share_the_cores_of_all_nodes() -> None:
    resources = ResourcesConfig(cpus=4, nodes=2, gpus=4, learner_ranks=2)
    assert rank_bundles(resources, 2) == [Bundle(cpus=2, gpus=1)] * 4
