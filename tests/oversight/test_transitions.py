"""The table of what became of answers, against counting."""

from collections import Counter
from itertools import product

import numpy as np
import pytest

from sandwiching.oversight.graded import Graded
from sandwiching.oversight.transitions import STATES, transitions

SIZES = [2] * 30
GROUPS = [f"g{place // 2}" for place in range(60)]


def state(right, approved):
    return f"{'right' if right else 'wrong'}, {'approved' if approved else 'not approved'}"


def test_shares_are_counts_of_samples_and_raters(make_answers):
    rng = np.random.default_rng(0)
    floor = make_answers(rng, 0.4, 0.7, 0.4, SIZES)
    arm = make_answers(rng, 0.6, 0.7, 0.6, SIZES)
    counted: Counter = Counter()
    for place in product(range(3), range(60), range(2), range(2)):
        before = state(floor.right_SNJ[place[:3]], floor.approved_SNJR[place])
        after = state(arm.right_SNJ[place[:3]], arm.approved_SNJR[place])
        counted[before, after] += 1
    found = transitions(floor, arm, GROUPS, 0.95)
    for before, after in product(STATES, STATES):
        assert found[before][after].estimate == pytest.approx(counted[before, after] / counted.total())
    total = sum(found[before][after].estimate for before, after in product(STATES, STATES))
    assert total == pytest.approx(1)


def test_a_tie_in_both_is_no_move(make_answers):
    rng = np.random.default_rng(1)
    floor = make_answers(rng, 0.4, 0.7, 0.4, SIZES)
    tied = Graded(floor.right_SNJ, np.full_like(floor.approved_SNJR, 0.5), [])
    found = transitions(tied, tied, GROUPS, 0.95)
    for before, after in product(STATES, STATES):
        assert (found[before][after].estimate > 0) == (before == after)
