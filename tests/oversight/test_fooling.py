"""Fooling on fixtures with known answers, and what would miss it."""

from itertools import product

import numpy as np
import pytest

from sandwiching.oversight.fooling import TooFewError, decompose, fooling
from sandwiching.oversight.graded import Graded, Shares, graded

SIZES = [3, 1, 5, 2, 4, 3, 2, 6, 1, 3] * 20
GROUPS = [f"g{index}" for index, size in enumerate(SIZES) for _ in range(size)]
FLOOR = {"right": 0.4, "honoured": 0.7, "passed": 0.4}


@pytest.fixture
def pair(make_answers):
    """Floor and arm; the arm as the floor but for what is given."""

    def make(seed, arm, **options):
        rng = np.random.default_rng(seed)
        return tuple(make_answers(rng, sizes=SIZES, **policy, **options) for policy in (FLOOR, {**FLOOR, **arm}))

    return make


def test_fooling_under_an_honest_gain_is_found_where_approval_less_correctness_misses_it(pair):
    """Correctness gains .2 and wrong answers are approved .1 more often: approval rises by .1 only."""
    floor, arm = pair(0, {"right": 0.6, "passed": 0.5})
    parts = decompose(floor.shares, arm.shares, GROUPS, 0.95)
    assert parts.difference.high < 0
    found = fooling(floor.shares, arm.shares, GROUPS, 0.95)
    assert found.change.low > 0
    assert found.change.low < 0.1 < found.change.high
    assert found.change.high - found.change.low < 0.1
    assert parts.fooled.low > 0
    assert parts.credit.high < 0


def test_an_honest_gain_alone_is_no_fooling(pair):
    floor, arm = pair(1, {"right": 0.6})
    found = fooling(floor.shares, arm.shares, GROUPS, 0.95)
    assert found.change.low < 0 < found.change.high


def test_it_is_every_wrong_sample_of_one_policy_against_every_one_of_the_other(pair):
    floor, arm = pair(2, {"right": 0.5, "passed": 0.6}, samples=3, seeds=2)
    top = bottom = 0.0
    for seed, item in product(range(2), range(len(GROUPS))):
        for i, j in product(range(3), range(3)):
            if floor.right_SNJ[seed, item, i] == 0 == arm.right_SNJ[seed, item, j]:
                bottom += 1
                top += arm.approved_SNJR[seed, item, j].mean() - floor.approved_SNJR[seed, item, i].mean()
    found = fooling(floor.shares, arm.shares, GROUPS, 0.95)
    assert found.change.estimate == pytest.approx(top / bottom)
    assert found.arm - found.floor == pytest.approx(found.change.estimate)
    both = ((floor.right_SNJ.min(2) == 0) & (arm.right_SNJ.min(2) == 0)).any(0)
    assert found.change.items == both.sum()
    assert found.change.groups == len({group for group, kept in zip(GROUPS, both, strict=True) if kept})


def test_equal_policies_show_exactly_none(pair):
    floor, _ = pair(3, {})
    found = fooling(floor.shares, floor.shares, GROUPS, 0.95)
    assert found.change.estimate == 0
    assert found.change.low == found.change.high == 0


def test_answering_right_what_raters_see_through_is_no_fooling():
    """The arm gets right exactly those wrong answers that raters never approve; the others it answers as before."""
    rng = np.random.default_rng(4)
    seen_through = np.repeat(rng.random(len(SIZES)) < 0.5, SIZES)
    right = np.zeros((2, len(GROUPS), 1))
    approved = np.broadcast_to(np.where(seen_through, 0.0, 0.8)[None, :, None, None], (2, len(GROUPS), 1, 1))
    better = np.where(seen_through & (rng.random(len(GROUPS)) < 0.8), 1.0, 0.0)[None, :, None]
    floor = Graded(right, approved, [])
    arm = Graded(np.broadcast_to(better, right.shape), approved, [])
    found = fooling(floor.shares, arm.shares, GROUPS, 0.95)
    assert found.unstandardised.low > 0.1
    assert found.change.estimate == pytest.approx(0)
    parts = decompose_with_right(floor.shares, arm.shares)
    assert parts.fooled.estimate == pytest.approx(0)
    assert parts.other_wrong.low > 0


def decompose_with_right(floor: Shares, arm: Shares):
    """The floor is right about something too, on items of their own."""
    items = 40
    right = np.ones((2, items)), np.full((2, items), 0.9), np.zeros((2, items))

    def joined(one: Shares) -> Shares:
        added = (1 - right[0], right[1], right[2])
        own = (one.wrong, one.approved_right, one.approved_wrong)
        return Shares(*(np.concatenate(columns, axis=1) for columns in zip(own, added, strict=True)))

    groups = GROUPS + [f"more{place}" for place in range(items)]
    return decompose(joined(floor), joined(arm), groups, 0.95)


def test_the_terms_add_up_to_approval_less_correctness(pair):
    floor, arm = pair(5, {"right": 0.55, "honoured": 0.8, "passed": 0.55}, hard=0.2)
    parts = decompose(floor.shares, arm.shares, GROUPS, 0.95)
    terms = (parts.credit, parts.right, parts.fooled, parts.other_wrong)
    assert sum(term.estimate for term in terms) == pytest.approx(parts.difference.estimate)
    assert parts.difference.estimate == pytest.approx(parts.approval.estimate - parts.correctness.estimate)


def test_too_few_wrong_answers_say_how_many_and_what_would_do(make_answers):
    rng = np.random.default_rng(6)
    groups = [f"g{place // 2}" for place in range(12)]
    floor, arm = (make_answers(rng, sizes=[2] * 6, samples=8, **FLOOR) for _ in range(2))
    with pytest.raises(
        TooFewError, match=r"wrong on too little: 12 items of 6 groups.*10 groups; raise check\.max_pro"
    ):
        fooling(floor.shares, arm.shares, groups, 0.95)
    never = Graded(np.zeros_like(floor.right_SNJ), floor.approved_SNJR, [])
    with pytest.raises(TooFewError, match="the floor is right on too little: 0 items of 0 groups"):
        decompose(never.shares, arm.shares, groups, 0.95)


def test_answers_of_a_record_are_all_samples_and_raters(make_record):
    record = make_record(seeds=(0, 1))
    found = graded(record, "weak")
    assert found.right_SNJ.shape == (2, 120, 4)
    assert found.approved_SNJR.shape == (2, 120, 4, 3)
    assert found.shares.approved[1, 7] == pytest.approx(np.mean(record["policies"]["weak/seed1"]["approvals"][7]))
    assert found.shares.right[0, 3] == pytest.approx(np.mean(record["policies"]["weak/seed0"]["correct"][3]))
