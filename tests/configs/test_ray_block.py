"""The block about Ray jobs, and placement on a Ray cluster: what may stand there, and that it decides no result."""

from __future__ import annotations

import pytest

from sandwiching.configs.load import ConfigError, load
from sandwiching.launch.graph import build_graph

WRONG = [
    (["ray.stop_seconds=0"], ["ray.stop_seconds", "at least 1"]),
    (["ray.driver_cpus=-1"], ["ray.driver_cpus", "at least 0"]),
    (["ray.adress=x"], ["ray.adress", "is unknown"]),
    (["resources.placement=wide"], ["resources.placement", "pack, spread, strict_spread"]),
    (
        ["resources.placement=strict_spread", "resources.learner_ranks=2"],
        ["resources.placement=strict_spread", "2 bundles", "resources.nodes=1", "set resources.nodes=2"],
    ),
    (
        ["resources.placement=strict_spread", "resources.colocate=false", "resources.nodes=2"],
        ["3 bundles", "set resources.nodes=3"],
    ),
]


@pytest.mark.parametrize(("overrides", "said"), WRONG, ids=[" ".join(overrides) for overrides, _ in WRONG])
def test_wrong_settings_are_named_with_a_remedy(overrides: list[str], said: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        load("tiny", overrides)
    message = str(error.value)
    assert len(message.splitlines()) == 1
    for part in said:
        assert part in message


def test_neither_enters_a_key() -> None:
    other = ["ray.stop_seconds=5", "ray.driver_cpus=1", "resources.placement=spread"]
    keys = [[node.key for node in build_graph(load("tiny", overrides)).nodes] for overrides in ([], other)]
    assert keys[0] == keys[1]
