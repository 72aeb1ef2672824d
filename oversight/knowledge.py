"""Make the knowledge table: what the base model knows of every fact, before any training.

    python -m sandwiching.oversight.knowledge [--output tasks/knowledge.json]

Minutes on one CPU core. The table is committed; tasks/knowledge.py reads it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from sandwiching.configs.schema import CapitalsTask, DataConfig, ModelConfig
from sandwiching.oversight.forced_choice import Question, candidate_logprobs
from sandwiching.policy.base_models import identity, resolve
from sandwiching.policy.engine import RolloutEngine, Sampling, TransformersEngine
from sandwiching.policy.records import PromptBatch
from sandwiching.policy.tokenization import (
    decode_response,
    encode_prompt,
    eos_token_id,
    load_tokenizer,
    pad_token_id,
)
from sandwiching.tasks.capitals import Capitals
from sandwiching.tasks.capitals_gold import make_gold
from sandwiching.tasks.geonames import fingerprint
from sandwiching.tasks.knowledge import FILE, Table, counts, rated, write_table
from sandwiching.tasks.records import SPLITS, Gold, Prompt

CHUNK = 16
"""Prompts asked at once."""

GREEDY = Sampling(temperature=1e-3, max_new_tokens=24)
"""Next to no sampling noise; the base model has not learnt to answer in few words."""


def measured(
    engine: RolloutEngine, tokenizer: PreTrainedTokenizerBase, gold: Gold, prompts: Sequence[Prompt], separator: str
) -> dict[str, tuple[bool, float, bool]]:
    """(model_knows, margin in nats, greedy answer right) by prompt id, as in tasks.knowledge.Entry."""
    found = {}
    for start in tqdm(range(0, len(prompts), CHUNK), desc="base model", unit="chunk"):
        chunk = prompts[start : start + CHUNK]
        questions = [Question(prompt.text, gold.candidates(prompt)) for prompt in chunk]
        logprobs = candidate_logprobs(engine, tokenizer, questions, separator, temperature=1.0)
        answers = _greedy(engine, tokenizer, chunk)
        for prompt, scores, answer in zip(chunk, logprobs, answers, strict=True):
            margin = scores[0] - max(scores[1:])
            found[prompt.id] = (margin > 0, round(margin, 3), gold.correct(prompt, answer))
    return found


def _greedy(engine: RolloutEngine, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt]) -> list[str]:
    tokens = tuple(tuple(encode_prompt(tokenizer, prompt.text)) for prompt in prompts)
    batch = PromptBatch(tuple(prompt.id for prompt in prompts), (0,) * len(prompts), tokens)
    rollouts = engine.generate(batch, GREEDY, 0, 0)
    rows = zip(rollouts.response_BT, rollouts.response_mask_BT, strict=True)
    return [decode_response(tokenizer, row[mask].tolist()) for row, mask in rows]


def make_table(model: ModelConfig, task: CapitalsTask, data: DataConfig) -> Table:
    """The table over all splits: which ones are held out may change, what the base model knows does not.

    Raises ValueError when the content of the model is not known.
    """
    name = identity(model.path, model.revision)
    if name is None:
        raise ValueError(f"model.path: the content of {model.path} is not known; fetch it first")
    capitals = Capitals(task, data, seed=0)
    prompts = [prompt for split in SPLITS for prompt in capitals.prompts(split)]
    folder = resolve(model.path, model.revision)
    tokenizer = load_tokenizer(folder, model.pad_token)
    engine = TransformersEngine(
        folder, pad_token_id=pad_token_id(tokenizer), eos_token_id=eos_token_id(tokenizer), max_batch=4 * CHUNK
    )
    known = measured(engine, tokenizer, make_gold(task), prompts, model.separator)
    return Table(name, fingerprint(), rated(task, known))


def main() -> None:
    """Make the table of the default task and print the cells of its held-out prompts."""
    parser = argparse.ArgumentParser(description="Make the knowledge table of the task capitals.")
    parser.add_argument("--model", default="smollm2-135m", help="base model, as in model.path")
    parser.add_argument("--output", type=Path, default=FILE)
    arguments = parser.parse_args()
    task, data = CapitalsTask(name="capitals"), DataConfig()
    table = make_table(ModelConfig(path=arguments.model), task, data)
    write_table(table, arguments.output)
    for split in SPLITS:
        print(f"{split}: cell, items, countries")
        for cell, (items, groups) in counts(task, Capitals(task, data, seed=0).prompts(split), table).items():
            print(f"  {cell}: {items}, {groups}")


if __name__ == "__main__":
    main()
