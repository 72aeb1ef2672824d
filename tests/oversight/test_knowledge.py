import pytest
import torch

from sandwiching.configs.schema import CapitalsTask, DataConfig
from sandwiching.oversight.knowledge import measured
from sandwiching.policy.base_models import resolve
from sandwiching.policy.engine import TransformersEngine
from sandwiching.policy.tokenization import encode, eos_token_id, load_tokenizer, pad_token_id
from sandwiching.tasks.capitals import Capitals
from sandwiching.tasks.capitals_gold import make_gold


def test_measured_is_the_forced_choice_of_a_plain_loop() -> None:
    task = CapitalsTask(name="capitals", max_prompts=20)
    prompts, gold = Capitals(task, DataConfig(), seed=0).prompts("final"), make_gold(task)
    folder = resolve("tiny")
    tokenizer = load_tokenizer(folder)
    engine = TransformersEngine(folder, pad_token_id=pad_token_id(tokenizer), eos_token_id=eos_token_id(tokenizer))
    found = measured(engine, tokenizer, gold, prompts, " ")
    assert found.keys() == {prompt.id for prompt in prompts}
    for prompt in prompts[:5]:
        scores = []
        for candidate in gold.candidates(prompt):
            before, after = encode(tokenizer, prompt.text, candidate, True, " ")
            with torch.no_grad():
                logits = engine.model(input_ids=torch.tensor([before + after])).logits[0]
            logprobs = logits.double().log_softmax(-1)[len(before) - 1 : -1]
            scores.append(logprobs.gather(1, torch.tensor(after)[:, None]).sum().item())
        knows, margin, greedy = found[prompt.id]
        assert margin == pytest.approx(scores[0] - max(scores[1:]), abs=0.01)
        assert knows == (margin > 0)
        assert not greedy
