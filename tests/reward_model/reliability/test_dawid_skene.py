"""Dawid and Skene's EM against crowd-kit, and against loops."""

import numpy as np
import pandas as pd
import pytest
from crowdkit.aggregation.classification.dawid_skene import DawidSkene

from sandwiching.reward_model.reliability.dawid_skene import confusions, dawid_skene


def both(votes, iterations, tolerance):
    """Ours and crowd-kit's on the same votes, classes in one order."""
    label_E = (1 - votes.sign_E).astype(int)
    ours = confusions(votes.pair_E, votes.rater_E, label_E, 3, iterations, tolerance)
    frame = pd.DataFrame({"task": votes.pair_E, "worker": votes.rater_E, "label": label_E})
    theirs = DawidSkene(n_iter=iterations, tol=tolerance).fit(frame)
    return ours, theirs


@pytest.mark.parametrize(("iterations", "tolerance"), [(100, 1e-5), (30, -1.0), (1, 1e-5)])
@pytest.mark.parametrize("seed", [0, 1])
def test_equal_to_crowd_kit(iterations, tolerance, seed, coin_world):
    skills = np.concatenate([np.linspace(0.5, 0.95, 18), [0.2, 0.1]])
    votes = coin_world(skills, pairs=200, each=5, ties=0.2, seed=seed).votes
    ours, theirs = both(votes, iterations, tolerance)
    assert theirs.probas_ is not None
    assert theirs.errors_ is not None
    assert theirs.priors_ is not None
    probabilities = theirs.probas_.sort_index()[[0, 1, 2]].to_numpy()
    assert np.abs(ours.posterior_PC - probabilities).max() < 1e-3
    for worker, label in theirs.errors_.index:
        found = theirs.errors_.loc[(worker, label), [0, 1, 2]].to_numpy(dtype=float)
        assert ours.confusion_KCL[worker, :, label] == pytest.approx(found, abs=1e-3)
    assert ours.prior_C == pytest.approx(np.array([theirs.priors_[label] for label in range(3)]), abs=1e-3)


def test_one_step_by_hand():
    """Two raters, two pairs: (first, first) and (first, second); labels 0 and 1."""
    pair_E, rater_E, label_E = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.array([0, 0, 0, 1])
    found = confusions(pair_E, rater_E, label_E, 2, iterations=1, tolerance=-1.0)
    # Start: P(0) is 1 and 1/2, prior 3/4, 1/4. Rater 0 always says 0; rater 1 says 0 on 1 of 3/2 of the zeros.
    first, second = 0.75 * 1 * (2 / 3), 0.25 * 1 * 2e-10
    assert found.posterior_PC[0] == pytest.approx([first / (first + second), second / (first + second)])
    zero, one = 0.75 * (1 / 3), 0.25 * 1
    assert found.posterior_PC[1] == pytest.approx([zero / (zero + one), one / (zero + one)])


def test_a_class_that_nobody_names_and_pairs_without_votes_change_nothing(coin_world):
    votes = coin_world(np.full(8, 0.8), pairs=60, each=4, ties=0.0).votes
    whole = dawid_skene(votes)
    fewer = dawid_skene(votes.select(votes.pair_E < 50))
    assert fewer.soft_P[50:].tolist() == pytest.approx([0.5] * 10)
    assert np.all(whole.soft_P != 0.5)
