"""Tokens a second that engines sample: Hugging Face generate and vLLM, alternating in one run.

    make setup-vllm
    python benchmarks/rollouts.py

For each batch and length every engine samples the same prompts (chats of 40 tokens, most of them shared) at
temperature 1; the median of the rounds counts, after one short rollout of each engine and batch. Responses that end
early are counted as long as they are.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

import torch

from sandwiching.configs.schema import ModelConfig, ResourcesConfig
from sandwiching.policy.base_models import resolve
from sandwiching.policy.engine import RolloutEngine, Sampling
from sandwiching.policy.records import PromptBatch
from sandwiching.policy.tokenization import encode_prompt, load_tokenizer
from sandwiching.training.devices import use_threads
from sandwiching.training.engines import ENGINES, build_engine
from sandwiching.training.roles import EngineSpec

LONGEST_PROMPT = 64


def prompts_of(folder: Path, count: int) -> PromptBatch:
    """`count` different questions."""
    tokenizer = load_tokenizer(folder)
    chats = [({"role": "user", "content": f"Tell me a story about the number {i}."},) for i in range(count)]
    tokens = [encode_prompt(tokenizer, chat) for chat in chats]
    return PromptBatch.repeated([f"story-{i}" for i in range(count)], tokens, 1)


def seconds_and_tokens(engine: RolloutEngine, prompts: PromptBatch, length: int, step: int) -> tuple[float, int]:
    """Of one rollout."""
    started = time.perf_counter()
    rollouts = engine.generate(prompts, Sampling(1.0, length), seed=0, step=step)
    return time.perf_counter() - started, int(rollouts.response_mask_BT.sum())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 32, 64, 128])
    parser.add_argument("--lengths", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    arguments = parser.parse_args()
    use_threads(len(os.sched_getaffinity(0)))
    folder = resolve(arguments.model)
    model = ModelConfig(
        path=arguments.model, precision=arguments.precision, max_length=LONGEST_PROMPT + max(arguments.lengths)
    )
    resources = ResourcesConfig(rollout_batch=max(arguments.batches))
    engines = {kind: build_engine(EngineSpec(folder, model, False, kind), resources) for kind in arguments.engines}
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} threads"
    print(f"{arguments.model}, {arguments.precision}, {where}; the ratio is that of last and first\n")
    print("| batch | length | " + " | ".join(f"{kind}, tokens/s" for kind in engines) + " | ratio |")
    print("|---|---|" + "---|" * (len(engines) + 1))
    for batch in arguments.batches:
        prompts = prompts_of(folder, batch)
        for engine in engines.values():
            seconds_and_tokens(engine, prompts, 4, 0)
        for length in arguments.lengths:
            rates: dict[str, list[float]] = {kind: [] for kind in engines}
            for step in range(arguments.rounds):
                for kind, engine in engines.items():
                    seconds, tokens = seconds_and_tokens(engine, prompts, length, step)
                    rates[kind].append(tokens / seconds)
            medians = [statistics.median(values) for values in rates.values()]
            cells = " | ".join(f"{rate:.0f}" for rate in medians)
            print(f"| {batch} | {length} | {cells} | {medians[-1] / medians[0]:.2f} |", flush=True)
    for engine in engines.values():
        engine.close()


if __name__ == "__main__":
    main()
