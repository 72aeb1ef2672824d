"""The common unit of scores."""

import json

import pytest
import torch
from transformers import LlamaConfig

from sandwiching.reward_model.normalise import normalised, reference_statistics, write_statistics


def test_references_get_mean_0_and_deviation_1(tmp_path):
    scores = torch.randn(500, generator=torch.Generator().manual_seed(0)) * 7 + 1000
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "hidden_size": 96}))
    write_statistics(tmp_path, *reference_statistics(scores))
    config = LlamaConfig.from_pretrained(tmp_path)
    unit = normalised(scores, config).double()
    assert abs(unit.mean().item()) < 1e-4
    assert unit.std(correction=0).item() == pytest.approx(1, abs=1e-4)
    assert config.hidden_size == 96


@pytest.mark.parametrize("scores", [[2.0, 2.0], [1.0, float("nan")]])
def test_scores_without_a_unit_are_refused(scores):
    with pytest.raises(ValueError, match="scores all 2 reference texts alike"):
        reference_statistics(torch.tensor(scores))
