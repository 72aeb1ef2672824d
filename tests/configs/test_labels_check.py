"""Settings about labels that do not fit together are refused with what would."""

from __future__ import annotations

import pytest

from sandwiching.configs.errors import ConfigError
from sandwiching.configs.load import arm_config, load

VARIANCE = ("labels.choose=variance", "labels.pairs_per_round=4", "labels.rounds=2")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["ppo=null", "labels.rounds=2"], r"labels\.rounds=2: with ppo=null .* set labels\.pairs_per_round"),
        (["labels.choose=variance", "labels.rounds=2"], r"labels\.pairs_per_round=null leaves nothing to choose"),
        (["labels.choose=variance", "labels.pairs_per_round=4"], r"set labels\.rounds=2 or more"),
        ([*VARIANCE, "reward_model.members=1"], r"reward_model\.members=1; set reward_model\.members=3"),
        (
            [*VARIANCE, "reward_model.kind=probe", "reward_model.bootstrap=none"],
            r"set reward_model\.bootstrap=raters",
        ),
        (["labels.choose=entropy"], r"labels\.choose: 'entropy' is unknown; use one of uniform, variance"),
        (["labels.rounds=0"], r"labels\.rounds: is 0; it must be at least 1"),
        (["arms.weak.labels.cost.weak=2"], r"set labels\.cost for the run"),
        (["arms.weak.ppo=null"], r"arms\.weak\.ppo: .* set ppo for the whole run"),
    ],
)
def test_misfits(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load("tiny", overrides)


def test_a_file_has_no_rounds(tmp_path) -> None:
    (tmp_path / "one.jsonl").write_text("{}")
    data = f"data.judgements={tmp_path / 'one.jsonl'}"
    with pytest.raises(ConfigError, match=r"labels: rounds need new pairs"):
        load("arguments", [data, "labels.rounds=2"])
    with pytest.raises(ConfigError, match=r"judgements\.raters=people waits"):
        load("arguments", [data, "judgements.raters=people"])


def test_arms_may_choose_otherwise() -> None:
    config = load("tiny", [*VARIANCE[1:], "arms.variance.labels.choose=variance"])
    assert arm_config(config, "weak").labels.choose == "uniform"
    assert arm_config(config, "variance").labels.choose == "variance"
    assert arm_config(config, "variance").labels.rounds == 2


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["judgements.people.weak=a.jsonl"], r"judgements\.raters=task; set judgements\.raters=people"),
        (
            ["judgements.raters=people", "judgements.people.weak=a.jsonl", "labels.rounds=2"],
            r"each round has pairs of its own; name a file for each, as a-\{round\}\.jsonl",
        ),
        (
            ["judgements.raters=people", "judgements.people.expert=a", "seeds=[0,1]"],
            r"people\.expert=a: each seed has pairs of its own; name a file for each, as a-\{seed\}",
        ),
        (["judgements.people.wek=a"], r"judgements\.people\.wek is unknown: did you mean|judgements\.people\.weak"),
    ],
)
def test_files_of_people_that_misfit(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load("tiny", overrides)
