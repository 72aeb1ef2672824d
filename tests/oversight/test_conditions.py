"""Stability conditions: each quantity, what keeps a bound, and what is said."""

import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sandwiching.configs.schema import ConditionsConfig
from sandwiching.oversight.conditions import (
    SIX,
    Measured,
    Run,
    conditions_sentence,
    evaluate,
    judged,
    optimisation_power,
    weak_signal,
)
from sandwiching.oversight.conditions_measure import held_out_loss, kl_by_arm, parameters, policy_parameters
from sandwiching.oversight.declaration import declare
from sandwiching.oversight.expert_store import Standing
from sandwiching.oversight.intervals import mean_interval
from sandwiching.oversight.shift import Shift
from sandwiching.oversight.traces import Traces

STANDING = Standing("store", 3, 20, 3, "hash", "final")
RUN = Run(
    kl_by_arm={"weak": Measured("KL", 2.5, 2.0, 3.0, "2 seeds")},
    shift=Shift(0.55, 0.5, 0.6, 100, 100),
    parameters=1000,
    held_out_loss=None,
    standing=STANDING,
    traces=Traces(0, 0, 0, 0),
    halves=[(0.7, 0.65, 0.75)],
    permutation_p=[0.005],
)


@pytest.mark.parametrize(
    ("value", "low", "high", "side", "bound", "state", "held"),
    [
        (1.0, 0.5, 1.5, "most", 2.0, "held", True),
        (1.0, 0.5, 2.5, "most", 2.0, "unclear", None),
        (3.0, 1.5, 4.5, "most", 2.0, "broken", False),
        (3.0, None, None, "most", 3.0, "held", True),
        (0.7, 0.6, 0.8, "least", 0.55, "held", True),
        (0.7, 0.5, 0.8, "least", 0.55, "unclear", None),
        (0.5, 0.4, 0.6, "least", 0.55, "broken", False),
        (None, None, None, "most", 2.0, "not tested", None),
        (1.0, None, None, "most", None, "not tested", None),
    ],
)
def test_a_bound_is_kept_by_the_whole_interval(value, low, high, side, bound, state, held) -> None:
    found = judged("looks", Measured("quantity", value, low, high), side, bound)
    assert (found.state, found.held) == (state, held)


def test_optimisation_power_is_the_arm_with_most_and_adds_the_choice_among_runs() -> None:
    arms = {"a": Measured("KL", 1.0, 0.5, 1.5, "1 seed"), "b": Measured("KL", 2.5, 2.0, 3.0, "2 seeds")}
    found = optimisation_power(arms, 8)
    assert (found.value, found.low, found.high) == pytest.approx(tuple(x + math.log(8) for x in (2.5, 2.0, 3.0)))
    assert "log 8" in found.quantity
    assert found.note == "arm b, 2 seeds"
    one = optimisation_power({"a": Measured("KL", 1.0)}, 1)
    assert (one.value, one.low, one.high) == (1.0, None, None)
    assert optimisation_power({}, 1).value is None


def test_the_worst_gate_counts() -> None:
    agreement, p = weak_signal([(0.8, 0.7, 0.9), (0.6, 0.5, 0.7)], [0.001, 0.2])
    assert (agreement.value, agreement.low, p.value) == (0.6, 0.5, 0.2)
    assert [one.value for one in weak_signal([], [])] == [None, None]


def test_the_six_conditions_are_said_in_a_sentence() -> None:
    bounds = ConditionsConfig(max_kl=50.0, max_looks=2)
    rows = evaluate(bounds, RUN)
    assert {row.name for row in rows} == set(SIX)
    assert conditions_sentence(rows) == (
        "Conditions: held: optimisation power, train/test shift, no trace of the check, weak signal; BROKEN: looks; "
        "not tested: capability."
    )
    assert "BROKEN: no trace" in conditions_sentence(
        evaluate(ConditionsConfig(), Run(**{**_fields(RUN), "traces": Traces(0, 1, 0, 0)}))
    )


def _fields(run: Run) -> dict:
    return {name: getattr(run, name) for name in Run.__slots__}


def test_looks_are_held_to_the_budget_even_where_more_were_declared() -> None:
    over = Standing("store", 4, 3, 4, "hash", "final")
    rows = evaluate(ConditionsConfig(max_looks=50), Run(**{**_fields(RUN), "standing": over}))
    assert next(row for row in rows if row.name == "looks").state == "broken"


def test_conditions_are_declared_once_and_changes_are_said(tmp_path: Path) -> None:
    folder = tmp_path / "check-a"
    first = declare(folder, "run", ConditionsConfig(max_kl=5.0), [False, False])
    again = declare(folder, "another", ConditionsConfig(max_kl=8.0), [True, True])
    assert again == first
    assert first.sentence(ConditionsConfig(max_kl=5.0)) == "Declared before training."
    assert "declared after, when the run had begun: max_kl 5.0 -> 8.0" in again.sentence(ConditionsConfig(max_kl=8.0))
    some = declare(tmp_path / "check-b", "run", ConditionsConfig(), [True, False])
    assert "when 1 of 2 of what it checks had been trained" in some.when
    assert [file.name for file in folder.iterdir()] == ["declared.json"]


def test_kl_is_that_of_the_held_out_prompts(make_record) -> None:
    record, rng = make_record(seeds=(0, 1)), np.random.default_rng(0)
    for answers in record["policies"].values():
        answers["kl"] = rng.random((120, 4)).tolist()
    found = kl_by_arm(record, {}, 0.95, "ceiling")
    assert list(found) == ["weak", "weak_reliable"]
    for arm, one in found.items():
        kl = np.array([record["policies"][f"{arm}/seed{seed}"]["kl"] for seed in (0, 1)])
        expected = mean_interval(kl.mean(2), [item["group"] for item in record["items"]])
        assert (one.value, one.low, one.high) == pytest.approx((kl.mean(), expected.low, expected.high))
        assert "exact on" in one.note
        assert "2 seeds" in one.note


def test_where_no_policy_is_asked_kl_is_that_of_the_last_batch(tmp_path: Path) -> None:
    parents = {}
    for arm, seed, record in (
        ("weak", 0, {"ppo/kl": 1.0, "ppo/kl_exact": 2.0}),
        ("weak", 1, {"ppo/kl": 3.0}),
        ("other", 0, {"ppo/kl": 4.0}),
        ("ceiling", 0, {"ppo/kl": 9.0}),
    ):
        place = tmp_path / f"{arm}{seed}"
        place.mkdir()
        lines = [{"step": 1, "ppo/kl": 0.0}, {"step": 2, **record}]
        (place / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        parents[f"ppo/{arm}/seed{seed}"] = place
    parents["sft/seed0"] = tmp_path
    found = kl_by_arm({"split": "dev"}, parents, 0.95, "ceiling")
    weak, other = found.pop("weak"), found.pop("other")
    assert not found
    assert (other.value, other.low, other.high) == (4.0, None, None)
    assert weak.value is not None
    assert weak.value == 2.5
    # t(.975, 1) = 12.706; the standard error of (2, 3) is 0.5.
    assert weak.high is not None
    assert weak.high - weak.value == pytest.approx(12.706 * 0.5, rel=1e-3)


def test_parameters_are_counted_from_headers(tmp_path: Path) -> None:
    model = tmp_path / "ppo" / "model"
    model.mkdir(parents=True)
    tensors = {"a": torch.zeros(3, 4), "b": torch.zeros(5)}
    save_file(tensors, model / "model.safetensors")
    assert parameters(model) == sum(tensor.numel() for tensor in tensors.values())
    assert policy_parameters({"sft/seed0": tmp_path, "ppo/weak/seed0": tmp_path / "ppo"}) == 17
    assert policy_parameters({"sft/seed0": tmp_path}) is None
    assert struct.calcsize("<Q") == 8


def test_the_floors_loss_is_of_the_right_candidates(make_record) -> None:
    record = make_record(seeds=(0, 1))
    found = held_out_loss(record, 0.95)
    assert found is not None
    rows = [record["policies"][f"floor/seed{seed}"]["logprobs"] for seed in (0, 1)]
    assert found.estimate == pytest.approx(np.mean([-row[0] for floor in rows for row in floor]))
    assert held_out_loss({"split": "dev"}, 0.95) is None
