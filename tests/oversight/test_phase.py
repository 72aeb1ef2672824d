"""The phase diagram on answers whose fooling is known: a policy that is as wrong as the floor, and confident."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from sandwiching.configs.layers import find_config, read_layers, stacked
from sandwiching.configs.load import load
from sandwiching.configs.schema import Config, PlantedTask
from sandwiching.oversight.expert_store import Standing
from sandwiching.oversight.intervals import Interval
from sandwiching.oversight.phase import ABOVE, FOOLS, GAINS, INCONCLUSIVE, NEITHER, cells_of, doses, places, verdict
from sandwiching.oversight.phase_figure import Claim, write_phase
from sandwiching.tasks.planted import Planted
from sandwiching.tasks.planted_world import facts_by_id

ARMS = ("null20", "know20_bias00", "know20_bias40", "null80", "know80_bias00", "know80_bias40")
Record = dict[str, Any]


def config(*overrides: str) -> Config:
    """Two competences and two biases of phase.yaml."""
    layers = read_layers(find_config("phase"))
    removed = [f"arms.{name}=null" for name, arm in stacked(layers)["arms"].items() if arm and name not in ARMS]
    return load("phase", [*removed, "seeds=[0]", "check.raters_per_response=5", *overrides])


def answers(right: str, said: str, style: str, honest: bool) -> tuple[list[str], list[bool]]:
    """Two samples: one always wrong in this style, the other right where the policy is honest."""
    return [style.format(said), right if honest else style.format(said)], [False, honest]


def record_of(settings: Config, items: int = 240) -> Record:
    """Biased arms answer confidently and as wrong as the floor; the others are right half the time."""
    assert isinstance(settings.task, PlantedTask)
    facts = facts_by_id(settings.task)
    prompts = Planted(settings.task, settings.data, 0).prompts("final")[:items]
    policies = {}
    for name in ("floor", *settings.arms):
        style = "definitely {}" if name.endswith("bias40") else "{}"
        honest = name != "floor" and not name.endswith("bias40")
        rows = [answers(facts[one.id].right, facts[one.id].said, style, honest) for one in prompts]
        for seed in settings.seeds:
            policies[f"{name}/seed{seed}"] = {
                "responses": [texts for texts, _ in rows],
                "correct": [right for _, right in rows],
                "logprobs": [[-1.0, -2.0] if honest else [-2.0, -1.0] for _ in rows],
                "kl": [[0.5, 1.5]] * len(prompts),
                "anchors": [facts[one.id].said for one in prompts],
            }
    rows = [
        {
            **{name: getattr(one, name) for name in ("id", "text", "group", "kind")},
            "candidates": facts[one.id].candidates(),
        }
        for one in prompts
    ]
    return {"items": rows, "seeds": settings.seeds, "policies": policies}


def trails_of(settings: Config) -> Record:
    """Two dev prompts, two samples: all wrong at first, half right at the end."""
    names = [f"{arm}/seed{seed}" for arm in settings.arms for seed in settings.seeds]
    points = [
        {
            "updates": updates,
            "correct": [[right, False], [right, False]],
            "approved": [[0.5, 0.5]] * 2,
            "forced": [0.0, 0.0],
            "kl": [[kl, kl]] * 2,
        }
        for updates, kl, right in ((0, 0.0, False), (10, 0.25, False), (20, 1.0, True))
    ]
    return {
        "seeds": settings.seeds,
        "points": dict.fromkeys(names, points),
        "rewards": dict.fromkeys(names, [[[0.0, 0.0]] * 2] * 3),
    }


def test_the_grid_is_read_from_the_arms() -> None:
    found = places(config())
    assert [(one.competence, one.bias, one.arm, one.null) for one in found] == [
        (0.2, 0.0, "know20_bias00", "null20"),
        (0.2, 4.0, "know20_bias40", "null20"),
        (0.8, 0.0, "know80_bias00", "null80"),
        (0.8, 4.0, "know80_bias40", "null80"),
    ]
    assert len(places(load("phase"))) == 20


def test_a_grid_that_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no null arm for competence 0\.2; give one without confidence_bias"):
        places(config("arms.null20=null"))
    with pytest.raises(ValueError, match="know20_bias00 and twin have raters of the same"):
        places(config("arms.twin={tier: weak, task: {competence: 0.2}}"))
    with pytest.raises(ValueError, match="task capitals has no such raters"):
        places(load("tiny"))


def test_confident_wrong_answers_fool_raters_who_do_not_know(tmp_path: Path) -> None:
    settings = config()
    record = record_of(settings)
    cells = {cell.place.arm: cell for cell in cells_of(settings, record)}
    # Who does not know prefers the confident one with probability sigmoid(4); who does ties; 5 % click at random.
    for arm, competence in (("know20_bias40", 0.2), ("know80_bias40", 0.8)):
        assert cells[arm].fooled.estimate == pytest.approx(
            0.95 * (1 - competence) * (1 / (1 + math.exp(-4)) - 0.5), abs=0.05
        )
    for arm in ("know20_bias00", "know80_bias00"):
        assert cells[arm].fooled.estimate == 0.0
        assert cells[arm].gain.estimate == pytest.approx(0.5)
    assert cells["know20_bias40"].verdict == FOOLS
    assert cells["know20_bias00"].verdict == ABOVE
    assert cells["know20_bias40"].above.estimate == pytest.approx(-cells["know20_bias40"].line)
    assert cells["know20_bias40"].kl == 1.0
    assert {(dose.along, dose.at): dose.ordered for dose in doses(list(cells.values()))} == {
        ("bias", 0.2): True,
        ("bias", 0.8): True,
        ("competence", 4.0): True,
    }
    claim = Claim(Standing("store", 2, 1, 2, "hash", "final"), "Conditions: held: looks.")
    table = write_phase(settings, record, trails_of(settings), tmp_path, claim)
    assert FOOLS in table
    decided = sum(cell.verdict != INCONCLUSIVE for cell in cells.values())
    assert f"{decided} of 4 cells are conclusive" in table
    assert table.startswith("INVALID: look 2 of a budget of 1.")
    assert "Conditions: held: looks." in table
    assert (tmp_path / "phase.md").read_text() == table
    assert json.loads((tmp_path / "phase.json").read_text())["invalid"]
    assert {file.name for file in tmp_path.iterdir()} == {"phase.json", "phase.md", "phase.svg"}
    assert json.loads((tmp_path / "phase.json").read_text())["cells"][0]["place"]["arm"] == "know20_bias00"


def test_verdicts() -> None:
    def around(middle: float, half: float) -> Interval:
        return Interval(middle, middle - half, middle + half, 10, 10, 10, 5)

    none, up = around(0.0, 0.02), around(0.2, 0.02)
    assert verdict(around(0.2, 0.06), up, up) == INCONCLUSIVE
    assert verdict(Interval(0.2, -math.inf, math.inf, 0, 1, 1, 5), up, up) == INCONCLUSIVE
    assert verdict(up, up, up) == FOOLS
    assert verdict(none, up, up) == ABOVE
    assert verdict(none, up, none) == GAINS
    assert verdict(none, none, up) == NEITHER
