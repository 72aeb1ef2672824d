"""The slope of fooling over the raters' competence, planted and absent."""

import numpy as np
import pytest

from sandwiching.oversight.competence import Panel, competence, competence_slope
from sandwiching.oversight.fooling import TooFewError
from sandwiching.oversight.graded import Graded

RATERS, ITEMS, EACH, SEEDS = 30, 400, 4, 3
GROUPS = [f"g{place // 4}" for place in range(ITEMS)]
SKILL = np.linspace(0.4, 0.9, RATERS)


def setting(seed, slope=0.0, skill=SKILL, raters=RATERS):
    """Raters of known skill; each approves of the arm's wrong answers .2 + slope (skill - .65) more often."""
    rng = np.random.default_rng(seed)
    asked = np.array([rng.choice(raters, EACH, replace=False) for _ in range(ITEMS)])
    right = (rng.random((ITEMS, EACH, 3)) < skill[asked][..., None]).mean(2)
    wrong = np.zeros((SEEDS, ITEMS, 2))
    more = np.array([0.0, 1.0])[:, None, None, None, None] * (0.2 + slope * (skill[asked] - 0.65))[None, None, :, None]
    chance = 0.4 + np.broadcast_to(more, (2, SEEDS, ITEMS, 2, EACH))
    floor, arm = (Graded(wrong, (rng.random(one.shape) < one).astype(float), []) for one in chance)
    return floor, arm, Panel(asked, right, raters)


def test_a_policy_that_fools_the_less_competent_more_has_a_negative_slope():
    found = competence_slope(*setting(0, slope=-0.6), GROUPS, 0.95)
    assert found.slope.low < -0.6 < found.slope.high < 0
    changes = [third.change.estimate for third in found.thirds.values()]
    assert changes == sorted(changes, reverse=True)
    assert changes[0] == pytest.approx(0.3, abs=0.05)
    assert [third.raters for third in found.thirds.values()] == [10, 10, 10]


def test_noise_in_competence_does_not_flatten_the_slope():
    """Mean over many draws; with competence as counted it would be a fifth smaller."""
    slopes = [competence_slope(*setting(seed, slope=-0.6), GROUPS, 0.95).slope.estimate for seed in range(12)]
    assert np.mean(slopes) == pytest.approx(-0.6, abs=0.08)


def test_competence_is_of_other_groups_than_the_one_at_hand():
    _, _, asked = setting(1)
    before = competence(asked, GROUPS)
    changed = asked.right_NR.copy()
    changed[:4] = 1 - changed[:4]
    after = competence(Panel(asked.rater_NR, changed, RATERS), GROUPS)
    apart = np.abs(after.others_NR - before.others_NR)
    assert apart[:4].max() < 0.01
    assert apart[4:].max() > 0.01
    assert before.spread == pytest.approx(SKILL.std(ddof=1), abs=0.03)


def test_too_few_raters_and_raters_alike_say_so():
    floor, arm, asked = setting(2)
    few = Panel(asked.rater_NR % 5, asked.right_NR, 5)
    with pytest.raises(TooFewError, match=r"5 raters judge in the check.*takes 6; raise task\.check_raters"):
        competence_slope(floor, arm, few, GROUPS, 0.95)
    alike = Panel(asked.rater_NR, np.full_like(asked.right_NR, 0.5), RATERS)
    with pytest.raises(TooFewError, match="do not differ in competence by more than chance"):
        competence_slope(floor, arm, alike, GROUPS, 0.95)
