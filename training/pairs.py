"""Pairs for raters: responses of the SFT model to the training prompts, sampled once and shared by all arms.

In later rounds of labels the responses are those of the policy that the round before trained.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from sandwiching.configs.schema import DataConfig, ModelConfig, PairsConfig, ResourcesConfig, TaskConfig
from sandwiching.policy.engine import RolloutEngine, Sampling
from sandwiching.policy.records import PromptBatch
from sandwiching.policy.tokenization import decode_response, load_tokenizer
from sandwiching.tasks.records import Pair, Prompt
from sandwiching.tasks.registry import make_task
from sandwiching.training.artifacts import StageFolder, write_atomic
from sandwiching.training.base import base_folder
from sandwiching.training.batching import chosen
from sandwiching.training.prompts import fitting_prompts
from sandwiching.training.roles import EngineSpec, Roles

FILE = "pairs.jsonl.gz"
NOISE_STEP = -1
"""No step of PPO draws the noise that the pairs were sampled with; each round of pairs has its own, from here down."""

SampledPair = tuple[Pair, bool, bool]
"""A pair, and whether each response was finished."""


def sample_pairs(
    *,
    model: ModelConfig,
    task: TaskConfig,
    data: DataConfig,
    pairs: PairsConfig,
    seed: int,
    resources: ResourcesConfig,
    parents: Mapping[str, Path],
    folder: StageFolder,
    roles: Roles,
    round: int = 0,
) -> dict[str, float]:
    """Write pairs.jsonl.gz: every pair of distinct responses to each prompt. Chunks done before a crash are kept.

    Parent ppo: the policy of the round before, whose pairs get ids of their own.
    """
    start = parents["ppo"] / "model" if "ppo" in parents else base_folder(model, parents)
    tokenizer = load_tokenizer(start, model.pad_token)
    prompts, tokens = fitting_prompts(
        chosen(make_task(task, data, seed).prompts("train"), pairs.max_prompts, seed),
        tokenizer,
        room=pairs.sampling.max_new_tokens,
        max_length=model.max_length,
        too_long=data.too_long,
    )
    engine = roles.engine(EngineSpec(start, model, adapters=False))
    sampling = Sampling(pairs.sampling.temperature, pairs.sampling.max_new_tokens)
    folder.cache.mkdir(exist_ok=True)
    size = max(1, resources.rollout_batch * resources.rollout_engines // pairs.samples)
    rows = []
    for first in range(0, len(prompts), size):
        chunk = prompts[first : first + size]
        cached = folder.cache / f"responses_{first}_{len(chunk)}.json"
        if not cached.exists():
            batch = PromptBatch.repeated([prompt.id for prompt in chunk], tokens[first : first + size], pairs.samples)
            write_atomic(cached, json.dumps(_sample(engine, batch, sampling, (seed, NOISE_STEP - round), tokenizer)))
        responses = json.loads(cached.read_text())
        for i, prompt in enumerate(chunk):
            rows += _pairs_of(prompt, responses[i * pairs.samples : (i + 1) * pairs.samples], round)
        folder.report(first + len(chunk), len(prompts))
        folder.stop_if_asked()
    _write(folder.path, [json.dumps(row) + "\n" for row in rows])
    return {"pairs/prompts": len(prompts), "pairs/pairs": len(rows)}


def _sample(
    engine: RolloutEngine, batch: PromptBatch, sampling: Sampling, noise: tuple[int, int], tokenizer
) -> list[list]:
    """[response, finished] a row; noise: the seed and step that it is drawn by."""
    rollouts = engine.generate(batch, sampling, *noise)
    texts = [
        decode_response(tokenizer, rollouts.response_BT[i][rollouts.response_mask_BT[i]].tolist())
        for i in range(len(rollouts))
    ]
    return [[text, finished] for text, finished in zip(texts, rollouts.finished_B.tolist(), strict=True)]


def _pairs_of(prompt: Prompt, responses: Sequence[Sequence], round: int) -> list[dict]:
    of_round = f"{round}:" if round else ""
    distinct = {text: finished for text, finished in responses}
    return [
        {
            "id": f"{prompt.id}/{of_round}{i}-{j}",
            "prompt_id": prompt.id,
            "prompt": prompt.text,
            "group": prompt.group,
            "kind": prompt.kind,
            "response_a": a,
            "response_b": b,
            "finished_a": finished_a,
            "finished_b": finished_b,
        }
        for (i, (a, finished_a)), (j, (b, finished_b)) in combinations(enumerate(distinct.items()), 2)
    ]


def _write(artifact: Path, lines: Sequence[str]) -> None:
    (artifact / FILE).write_bytes(gzip.compress("".join(lines).encode(), mtime=0))


def _lines(artifact: Path) -> list[str]:
    with gzip.open(artifact / FILE, "rt") as stream:
        return list(stream)


def copy_pairs(source: Path, to: Path, ids: Collection[str]) -> None:
    """Write the pairs of these ids, as they stand in another pairs artifact."""
    _write(to, [line for line in _lines(source) if json.loads(line)["id"] in ids])


def read_pairs(artifact: Path) -> list[SampledPair]:
    """(pair, finished_a, finished_b) of a pairs artifact."""
    rows = [json.loads(line) for line in _lines(artifact)]
    return [
        (
            Pair(
                row["id"],
                Prompt(row["prompt_id"], _text(row["prompt"]), row["group"], row["kind"]),
                row["response_a"],
                row["response_b"],
            ),
            row["finished_a"],
            row["finished_b"],
        )
        for row in rows
    ]


def _text(value: str | list) -> str | tuple:
    return value if isinstance(value, str) else tuple(value)
