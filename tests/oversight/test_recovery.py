"""PGR from fixtures with known answers: the rater line is the weak end."""

import numpy as np
import pytest

from sandwiching.oversight.recovery import gap_recovered, stage, stages
from sandwiching.oversight.summary import ratio, signed

GROUPS = [f"g{place // 2}" for place in range(40)]


def accuracy(share, seeds=1):
    """Exactly this share of 40 outcomes right, spread over the groups."""
    return np.tile((np.arange(40) * 7 % 40 < share * 40).astype(float), (seeds, 1))


def test_the_rater_line_is_the_weak_end():
    """Raters .4, arm .6, ceiling .9: two fifths of the gap."""
    found = gap_recovered(accuracy(0.6), accuracy(0.9), accuracy(0.4), GROUPS, 0.95)
    assert found.ratio.estimate == pytest.approx(0.4)
    assert found.numerator.estimate == pytest.approx(0.2)
    assert found.denominator.estimate == pytest.approx(0.5)
    assert found.ratio.kind == "bounded"


def test_below_the_raters_it_is_negative_and_not_clipped():
    found = gap_recovered(accuracy(0.3), accuracy(0.9), accuracy(0.4), GROUPS, 0.95)
    assert found.ratio.estimate == pytest.approx(-0.2)
    assert ratio(found.ratio).startswith("-0.20 [-")
    assert signed(found.numerator).startswith("-0.10")
    above = gap_recovered(accuracy(1.0), accuracy(0.8), accuracy(0.4), GROUPS, 0.95)
    assert above.ratio.estimate == pytest.approx(1.5)


def test_a_ceiling_like_the_raters_makes_it_undefined():
    rng = np.random.default_rng(0)
    line, arm, ceiling = (rng.binomial(1, 0.5, (1, 40)).astype(float) for _ in range(3))
    found = gap_recovered(arm, ceiling, line, GROUPS, 0.95)
    assert found.denominator.low < 0 < found.denominator.high
    assert found.ratio.kind in ("unbounded", "complement")
    assert ratio(found.ratio).startswith("undefined")


def test_labels_without_seeds_stand_beside_policies_with_some():
    found = gap_recovered(accuracy(0.6, seeds=3), accuracy(0.9), accuracy(0.4), GROUPS, 0.95)
    assert found.numerator.seeds == 3


def test_an_arm_without_a_ceiling_says_what_is_missing():
    found = stage({"weak": accuracy(0.6)}, accuracy(0.4)[0], None, GROUPS, 0.95)
    assert found.recovered == {}
    assert found.missing["weak"] == (
        "PGR needs a ceiling, and there is no arm ceiling here: add `ceiling: {tier: expert}` to arms"
    )
    assert found.accuracy["weak"].estimate == pytest.approx(0.6)


def test_labels_and_reward_models_of_a_record():
    pairs = {"weak/seed0": 0.5, "weak/seed1": 0.7, "top/seed0": 0.8, "top/seed1": 0.8}
    record = {
        "arms": ["weak", "people", "top"],
        "seeds": [0, 1],
        "ceiling": "top",
        "labels": {
            "groups": GROUPS,
            "line": accuracy(0.4)[0].tolist(),
            "arms": {"weak": accuracy(0.5)[0].tolist(), "top": accuracy(0.9)[0].tolist()},
            "missing": {"people": "they are not asked again"},
        },
        "rewards": {name: {"pairs": accuracy(share)[0].tolist()} for name, share in pairs.items()},
    }
    record["rewards"] |= {f"people/seed{seed}": {"pairs": accuracy(0.6)[0].tolist()} for seed in (0, 1)}
    found = stages(record, 0.95)
    assert found["label"].recovered["weak"].ratio.estimate == pytest.approx(0.2)
    assert found["label"].missing == {"people": "they are not asked again"}
    assert found["reward model"].recovered["weak"].ratio.estimate == pytest.approx(0.5)
    assert found["reward model"].recovered["weak"].numerator.seeds == 2
    assert found["reward model"].line.estimate == pytest.approx(0.4)
