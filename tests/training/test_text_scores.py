"""Scores of given texts are those of the reward model on each text alone."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from sandwiching.configs.schema import ModelConfig
from sandwiching.policy.base_models import resolve
from sandwiching.policy.tokenization import encode, load_tokenizer
from sandwiching.reward_model.ensemble import COMBINE
from sandwiching.training.roles import ScorerSpec
from sandwiching.training.scorer import TransformersScorer
from sandwiching.training.text_scores import Scored, ensemble_score


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    folders = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_pretrained(resolve("tiny"), num_labels=1)
        model.config.reward_mean, model.config.reward_std = 0.1 * seed, 2.0
        folders.append(tmp_path_factory.mktemp("member"))
        model.save_pretrained(folders[-1])
    return folders


def test_each_text_scores_as_if_alone(members):
    tokenizer = load_tokenizer(resolve("tiny"))
    texts = [Scored("Q" * (i % 7 + 1), "answer " * (i % 5) + str(i), i % 2 == 0) for i in range(150)]
    scorer = TransformersScorer(ScorerSpec(tuple(members), None, ModelConfig(path="tiny"), 1.0), 32)
    score = ensemble_score(scorer, tokenizer, " ", lambda rewards: COMBINE["wco"](rewards, 0.0))
    expected = []
    models = [AutoModelForSequenceClassification.from_pretrained(folder).eval() for folder in members]
    for text in texts:
        prompt, response = encode(tokenizer, text.prompt, text.response, text.finished, " ")
        with torch.no_grad():
            raw = [model(torch.tensor([prompt + response])).logits.item() for model in models]
        expected.append(min((raw[0] - 0.1) / 2, (raw[1] - 0.2) / 2))
    torch.testing.assert_close(score(texts), torch.tensor(expected), atol=1e-5, rtol=1e-4)
