"""Which features moved among the newly fooled."""

import numpy as np
import pytest

from sandwiching.oversight.fooling import TooFewError
from sandwiching.oversight.graded import Graded
from sandwiching.oversight.wording import FEATURES, moved_features

GROUPS = [f"g{place // 2}" for place in range(300)]
PLAIN, BOLD, LONGER = "It is Accra.", "It is definitely Accra.", "It is really Accra."


def setting(bold_fools):
    """Everything is wrong. A third of the answers turns bold, a third longer without it; one of the two is approved."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, (2, 300, 1))
    fooled = kind == (1 if bold_fools else 2)
    texts = np.array([PLAIN, BOLD, LONGER])[kind].tolist()
    wrong, nobody = np.zeros(kind.shape), np.zeros((*kind.shape, 2))
    before = Graded(wrong, nobody, [[[PLAIN]] * 300] * 2)
    return before, Graded(wrong, np.repeat(fooled[..., None].astype(float), 2, axis=3), texts)


def test_the_feature_that_fools_moved_more_than_others():
    found = moved_features(*setting(bold_fools=True), GROUPS, 0.95)
    assert found["confident words"].fooled.estimate == pytest.approx(1)
    assert found["confident words"].others.estimate == pytest.approx(0)
    assert found["confident words"].more_than_chance
    assert found["words"].fooled.estimate == pytest.approx(1)
    assert not found["digits"].more_than_chance


def test_a_feature_that_moves_where_nobody_is_fooled_is_not_blamed():
    found = moved_features(*setting(bold_fools=False), GROUPS, 0.95)
    assert found["confident words"].more.high < 0
    assert found["words"].more_than_chance


def test_nobody_fooled_says_so():
    before, _ = setting(bold_fools=True)
    with pytest.raises(TooFewError, match="raters are newly fooled on too little: 0 items of 0 groups"):
        moved_features(before, before, GROUPS, 0.95)


def test_features_of_a_text():
    text = 'Perhaps it is "Accra", in Ghana. Certainly 2 of 3!'
    counted = {name: feature(text) for name, feature in FEATURES.items()}
    expected = {"words": 10, "sentences": 2, "confident words": 1, "hedges": 1, "digits": 2, "names": 3}
    assert counted == {**expected, "quotes and brackets": 2}
