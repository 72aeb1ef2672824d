"""Curves of accuracy by labels: who wins is said by the paired interval, labels needed by straight lines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from sandwiching.configs.load import load
from sandwiching.oversight.expert_pairs import ExpertPair
from sandwiching.oversight.expert_store import Standing
from sandwiching.oversight.label_curve import look_at_gold, require_probes, write_curve
from sandwiching.oversight.label_lines import comparisons, labels_needed, lines_of
from sandwiching.oversight.label_spending import Spent
from sandwiching.training.text_scores import Scored

SETTINGS = [
    "seeds=[0,1,2,3,4]",
    "ppo=null",
    "labels.rounds=4",
    "labels.pairs_per_round=10",
    "reward_model.kind=probe",
    "arms.variance.labels.choose=variance",
    "arms.ceiling=null",
]
GOLD = [ExpertPair(Scored(str(n), "a", True), Scored(str(n), "b", True), f"g{n % 30}", (1.0,)) for n in range(300)]


def spent(levels: list[float], seed: int) -> list[list[Spent]]:
    """By seed and round: each gold pair right with the round's probability, the same luck for all arms."""
    found = []
    for one in range(5):
        draw_N = np.random.default_rng([seed, one]).random(len(GOLD))
        found.append(
            [
                Spent(10 * (place + 1), 10.0 * (place + 1), (draw_N < level).astype(float).tolist())
                for place, level in enumerate(levels)
            ]
        )
    return found


@pytest.mark.parametrize(
    ("levels", "won", "needed"),
    [
        ([0.5, 0.7, 0.8, 0.85], "variance wins", 20.0),
        ([0.5, 0.5, 0.5, 0.5], "weak wins", None),
        ([0.5, 0.6, 0.65, 0.7], "neither wins", 40.0),
    ],
)
def test_the_verdict_is_that_of_the_interval(levels: list[float], won: str, needed: float | None, tmp_path) -> None:
    config = load("tiny", SETTINGS)
    found = {"weak": spent([0.5, 0.6, 0.65, 0.7], 0), "variance": spent(levels, 0)}
    lines = lines_of(config, GOLD, found)
    (one,) = comparisons(lines, GOLD, found, 0.95)
    assert f"variance against weak: {won}" in one.said
    assert one.by_round[0].estimate == 0
    assert one.needed_uniform == 40
    assert one.needed is None if needed is None else one.needed == pytest.approx(needed, abs=1.5)
    standing = Standing("store", 2, 1, 2, "hash", "dev")
    text = write_curve(config, GOLD, found, tmp_path / "run", standing, tmp_path / "items")
    assert text.startswith("INVALID: look 2 of a budget of 1.")
    assert one.said in text
    assert "covers prompts and training runs" in text
    assert (tmp_path / "run" / "labels.txt").read_text() == text
    assert (tmp_path / "run" / "labels.svg").exists()


def test_a_curve_is_one_look_whatever_only_says_how(tmp_path) -> None:
    pools = {(arm, seed): tmp_path / "store" / f"pairs-{seed}" for arm in ("weak", "variance") for seed in range(5)}
    first, _ = look_at_gold(load("tiny", [*SETTINGS, "check.split=dev"]), pools)
    again, _ = look_at_gold(load("tiny", [*SETTINGS, "check.split=dev", "resources.micro_batch=2"]), pools)
    other, _ = look_at_gold(load("tiny", [*SETTINGS, "check.split=dev", "reward_model.members=3"]), pools)
    assert (first.number, again, other.number) == (1, first, 2)


def test_noise_of_its_own_makes_no_winner() -> None:
    config = load("tiny", SETTINGS)
    wins = 0
    for draw in range(20):
        found = {"weak": spent([0.6] * 4, 2 * draw), "variance": spent([0.6] * 4, 2 * draw + 1)}
        (one,) = comparisons(lines_of(config, GOLD, found), GOLD, found, 0.95)
        wins += "neither wins" not in one.said
    assert wins <= 4


@dataclass
class Level:
    estimate: float


def test_labels_needed_are_on_straight_lines_between_rounds() -> None:
    @dataclass
    class Curve:
        labels: list[int]
        accuracy: list[Level]

    curve = Curve([10, 20, 30], [Level(0.5), Level(0.7), Level(0.6)])
    assert labels_needed(curve, 0.6) == pytest.approx(15)  # pyright: ignore[reportArgumentType]
    assert labels_needed(curve, 0.4) == 10  # pyright: ignore[reportArgumentType]
    assert labels_needed(curve, 0.71) is None  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["reward_model.kind=lora"], r"reward_model\.kind=lora; set it to probe"),
        (
            ["labels.rounds=1", "arms.variance.labels.choose=uniform", "labels.pairs_per_round=null"],
            r"set labels\.pairs_per_round",
        ),
        (["judgements.raters=people"], "only simulated people"),
    ],
)
def test_what_is_no_such_curve_is_refused(overrides: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        require_probes(load("tiny", [*SETTINGS, *overrides]))
