"""The evaluation as SVG: one file a part that has data, the same bytes for the same data."""

import numpy as np
import torch

from sandwiching.reward_model.columns import JudgementColumns
from sandwiching.reward_model.difficulty import difficulty
from sandwiching.reward_model.evaluate import evaluate
from sandwiching.training.reward_plots import figures, save_evaluation


def judged(pairs=200, raters=12):
    random = np.random.default_rng(0)
    scores_N = torch.from_numpy(random.normal(size=2 * pairs)).float()
    pair_E = np.repeat(np.arange(pairs), 4)
    rater_E = np.argsort(random.random((pairs, raters)), axis=1)[:, :4].ravel()
    delta_E = (scores_N[2 * pair_E] - scores_N[2 * pair_E + 1]).numpy()
    target_E = random.random(len(pair_E)) < 1 / (1 + np.exp(-delta_E * np.linspace(0, 2, raters)[rater_E]))
    codes = torch.from_numpy(pair_E)
    return scores_N, JudgementColumns(
        text_a_E=2 * codes,
        text_b_E=2 * codes + 1,
        target_E=torch.from_numpy(target_E).float(),
        confidence_E=torch.full((len(pair_E),), float("nan")),
        rater_E=torch.from_numpy(rater_E),
        tier_E=torch.zeros(len(pair_E), dtype=torch.int64),
        group_E=codes % 5,
        prompt_E=codes,
        rater_names=tuple(f"r{k}" for k in range(raters)),
        tier_names=("weak",),
        group_names=tuple("abcde"),
        prompt_names=tuple(str(k) for k in range(pairs)),
    )


def evaluation(scores_N, columns, kept):
    train, dev = columns.select(~kept), columns.select(kept)
    return evaluate(scores_N, dev, 1.0) | difficulty(scores_N, train, dev)


def test_an_svg_of_each_part_and_the_same_bytes_again(tmp_path):
    scores_N, columns = judged()
    found = evaluation(scores_N, columns, columns.prompt_E % 2 == 0)
    files = save_evaluation(found, tmp_path / "one")
    assert [file.stem for file in files] == ["calibration", "margin", "vote_lead", "skill_quartile", "group"]
    again = save_evaluation(found, tmp_path / "two")
    assert [file.read_bytes() for file in files] == [file.read_bytes() for file in again]
    assert all(file.read_text().lstrip().startswith("<?xml") for file in files)


def test_without_held_out_judgements_there_is_nothing_to_draw():
    scores_N, columns = judged(pairs=3)
    assert figures(evaluation(scores_N, columns, torch.zeros(len(columns), dtype=torch.bool))) == {}
