"""Planted knowledge: the base model is taught a made-up world, so that what it knows is known.

    corpus of the task -> plain language modelling -> model/, the trunk of SFT; refused unless the planted is recalled

    sandwich run configs/planted.yaml --only plant

It takes about a minute on one core, in fp32 and in one process; an interrupted start begins again, with the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sandwiching.configs.schema import ModelConfig, PlantConfig, PlantedTask, ResourcesConfig, TaskConfig
from sandwiching.policy.engine import RolloutEngine
from sandwiching.policy.loading import load_causal_lm
from sandwiching.policy.lora import export
from sandwiching.policy.padding import padded_right
from sandwiching.policy.tokenization import encode, encode_prompt, encode_response, load_tokenizer, pad_token_id
from sandwiching.tasks.planted import Statement, corpus
from sandwiching.tasks.planted_world import VALUES, TownFact, facts_by_id
from sandwiching.training.artifacts import StageFolder
from sandwiching.training.base import base_folder
from sandwiching.training.batching import IGNORED
from sandwiching.training.devices import default_device
from sandwiching.training.in_memory import Row, train_in_memory
from sandwiching.training.metrics import MetricsLog
from sandwiching.training.roles import EngineSpec, Roles

LOG_EVERY = 20
"""Steps between records of metrics.jsonl."""


def plant_knowledge(
    *,
    model: ModelConfig,
    task: TaskConfig,
    plant: PlantConfig,
    resources: ResourcesConfig,
    parents: Mapping[str, Path],
    folder: StageFolder,
    roles: Roles,
) -> dict[str, float]:
    """Write model/. Returns the last loss, and how much is recalled of what was planted and of what was not.

    Raises ValueError for a base model without words for the world, or one that does not recall enough afterwards.
    """
    assert isinstance(task, PlantedTask)
    base = base_folder(model, parents)
    tokenizer = load_tokenizer(base, model.pad_token)
    statements = corpus(task)
    rows = [encoded(statement, tokenizer, model.separator) for statement in statements]
    net = load_causal_lm(base, torch.float32)
    verdict = [one.verdict is not None for one in statements]
    loss = teach(net, rows, verdict, plant, pad_token_id(tokenizer), folder)
    folder.check_attempt()
    export(net, tokenizer, folder.model)
    recalled = recall(roles.engine(EngineSpec(folder.model, model, adapters=False)), tokenizer, task, model.separator)
    metrics = {"plant/loss": loss, "plant/recall": recalled[True], "plant/recall_not_planted": recalled[False]}
    metrics["plant/verdicts"] = verdicts_right(net, [row for row, judges in zip(rows, verdict, strict=True) if judges])
    for what, least in (("recall", plant.least_recall), ("verdicts", plant.least_verdicts)):
        if metrics[f"plant/{what}"] < least:
            raise ValueError(
                f"plant: plant/{what} is {metrics[f'plant/{what}']:.3f}, below plant.least_{what}={least}; raise "
                "plant.steps, or lower task.towns"
            )
    return metrics


def encoded(statement: Statement, tokenizer: PreTrainedTokenizerBase, separator: str) -> Row:
    """The ids of a statement; what is learned is the response or, where there is one, the verdict behind it.

    Raises ValueError for a word that the base model's vocabulary lacks.
    """
    prompt, response = encode(tokenizer, statement.prompt, statement.response, True, separator)
    learned = response
    if statement.verdict is not None:
        prompt, learned = prompt + response, encode_response(tokenizer, statement.verdict, False, separator)
    if tokenizer.unk_token_id in prompt + learned:
        raise ValueError(
            f"model.path: its tokenizer has no token for a word of {statement.prompt!r} {statement.response!r}; "
            "use model.path=words"
        )
    return prompt + learned, [IGNORED] * len(prompt) + learned


def teach(
    net: PreTrainedModel,
    rows: Sequence[Row],
    verdict: Sequence[bool],
    plant: PlantConfig,
    pad: int,
    folder: StageFolder,
) -> float:
    """Train all weights in place, with metrics; verdict: which rows teach one. Returns the mean loss of the last steps.

    Facts come first: telling right from wrong starts to be learned when they are known.
    """
    net.to(default_device())  # pyright: ignore[reportArgumentType]
    log, losses = MetricsLog(folder.metrics), list[float]()
    log.cut(0)

    def watch(_: int, loss: float) -> None:
        losses.append(loss)
        if len(losses) % LOG_EVERY == 0 or len(losses) == plant.steps:
            log.write({"step": len(losses), "plant/loss": fmean(losses[-LOG_EVERY:])})
            folder.report(len(losses), plant.steps)
            folder.stop_if_asked()

    first = round(plant.facts_first * plant.steps)
    facts = [row for row, judges in zip(rows, verdict, strict=True) if not judges]
    parts = (
        (facts, first, replace(plant.optimizer, scheduler="constant"), None),
        (rows, plant.steps - first, plant.optimizer, [plant.verdict_weight if judges else 1.0 for judges in verdict]),
    )
    for part, (taught, steps, optimizer, weights) in enumerate(parts):
        train_in_memory(
            net,
            taught,
            steps=steps,
            batch_size=plant.batch_size,
            optimizer=optimizer,
            pad=pad,
            seed=2 * plant.seed + part,
            weights=weights,
            watch=watch,
        )
    return fmean(losses[-LOG_EVERY:])


def recall(
    engine: RolloutEngine, tokenizer: PreTrainedTokenizerBase, task: PlantedTask, separator: str
) -> dict[bool, float]:
    """Share of planted facts (True) and of the others (False) where the right value is the most probable of all."""
    facts = list(facts_by_id(task).values())
    asked = [(fact, value) for fact in facts for value in VALUES[fact.kind]]
    logprobs = engine.logprobs(
        [encode_prompt(tokenizer, fact.prompt) for fact, _ in asked],
        [encode_response(tokenizer, value, True, separator) for _, value in asked],
        1.0,
    ).tolist()
    by_fact: dict[str, dict[str, float]] = {}
    for (fact, value), score in zip(asked, logprobs, strict=True):
        by_fact.setdefault(fact.id, {})[value] = score

    def right(fact: TownFact) -> bool:
        scores = by_fact[fact.id]
        return max(scores, key=lambda value: scores[value]) == fact.right

    found: dict[bool, list[bool]] = {True: [], False: []}
    for fact in facts:
        found[fact.planted].append(right(fact))
    return {planted: sum(hits) / max(1, len(hits)) for planted, hits in found.items()}


@torch.no_grad()
def verdicts_right(net: PreTrainedModel, rows: Sequence[Row]) -> float:
    """Share of verdicts, each the last token of its row, that the model finds more probable than any other taught."""
    tokens_NS, attention_NS = padded_right([ids for ids, _ in rows], 0)
    last_N = attention_NS.sum(1) - 1
    row_N = torch.arange(len(rows))
    given_N = tokens_NS[row_N, last_N]
    device = default_device()
    logits_NSV = net(input_ids=tokens_NS.to(device), attention_mask=attention_NS.to(device)).logits.cpu()
    words = given_N.unique()
    said_N = words[logits_NSV[row_N, last_N - 1][:, words].argmax(1)]
    return float((said_N == given_N).float().mean())
