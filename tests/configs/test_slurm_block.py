"""The block about SLURM: what may stand in it, and that it decides nothing of a result."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandwiching.configs.load import ConfigError, load, to_yaml
from sandwiching.configs.slurm_block import parse_gres, seconds
from sandwiching.launch.graph import build_graph

WRONG = [
    (["slurm.time=24:00:00"], ["slurm.time: is 86400", "in quotes", "'24:00:00'"]),
    (["slurm.time=60"], ["slurm.time: is 60"]),
    (["slurm.time=UNLIMITED"], ["slurm.time: is UNLIMITED"]),
    (["slurm.time='00:02:00'"], ["slurm.signal_seconds=120", "slurm.time=00:02:00"]),
    (["slurm.signal_seconds=0"], ["slurm.signal_seconds", "at least 1"]),
    (["slurm.acount=x"], ["slurm.acount", "did you mean slurm.account?"]),
    (["slurm.account='my lab'"], ["slurm.account", "spaces"]),
    (["slurm.partition=''"], ["slurm.partition", "empty"]),
    (["slurm.extra=[mem=0]"], ["slurm.extra", "'mem=0'", "--mem=0"]),
    (["slurm.extra='--mem=0'"], ["slurm.extra", "a list, each text"]),
    (
        ["slurm.gres='gpu:a100:1'", "resources.gpus=2", "resources.rollout_engines=2"],
        ["slurm.gres=gpu:a100:1", "gpu:2"],
    ),
    (["slurm.container.runtime=docker"], ["slurm.container.runtime", "pyxis, apptainer"]),
    (["slurm.container.mounts=['/a:/b']"], ["slurm.container.mounts", "slurm.container.image"]),
    (["slurm.container={image: x, mounts: [data]}"], ["'data'", "SRC:DST"]),
    (["slurm.scratch=scratch"], ["slurm.scratch", "absolute"]),
    (["arms.weak.slurm.time='01:00:00'"], ["arms.weak.slurm", "belongs to the whole run"]),
]


@pytest.mark.parametrize(("overrides", "said"), WRONG, ids=[overrides[0] for overrides, _ in WRONG])
def test_wrong_settings_are_named_with_a_remedy(overrides: list[str], said: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        load("tiny", overrides)
    message = str(error.value)
    assert len(message.splitlines()) == 1
    for part in said:
        assert part in message


def test_times_of_slurm() -> None:
    times = {"30:00": 1800, "0:30:00": 1800, "24:00:00": 86400, "2-12": 216000, "1-0:30": 88200, "1-00:00:01": 86401}
    assert {time: seconds(time) for time in times} == times
    assert [seconds(wrong) for wrong in ("60", "1:2:3:4", "1-", "-1:00", "infinite", "")] == [None] * 6


def test_generic_resources() -> None:
    assert parse_gres("gpu:a100:4(S:0-1),gpu:v100:2,shard:8") == {"gpu": 6, "gpu:a100": 4, "gpu:v100": 2, "shard": 8}
    assert parse_gres("gpu") == {"gpu": 1}
    assert parse_gres("gpu:a100") == {"gpu": 1, "gpu:a100": 1}
    assert parse_gres("(null)") == parse_gres("") == {}


def test_a_resolved_config_keeps_its_times(tmp_path: Path) -> None:
    config = load("tiny", ["slurm.time='24:00:00'", 'slurm.prologue="module load a\\nmodule load b"'])
    assert config.slurm.prologue == "module load a\nmodule load b"
    (tmp_path / "again.yaml").write_text(to_yaml(config))
    assert load(tmp_path / "again.yaml") == config


def test_nothing_enters_a_key() -> None:
    overrides = ["slurm.partition=gpu", "slurm.time='01:00:00'", "slurm.offline=true", "slurm.container.image=x"]
    plain, submitted = (build_graph(load("tiny", given), cheap=True) for given in ([], overrides))
    assert [node.key for node in plain.nodes] == [node.key for node in submitted.nodes]
    assert all(node.key for node in plain.nodes)
