"""Judgements by a language model: critiques first where help is asked for, then verdicts, in chunks kept on disk."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sandwiching.configs.schema import JudgementsConfig, ModelRaterConfig
from sandwiching.policy.base_models import identity, resolve
from sandwiching.tasks.chat_client import ChatClient, ChatSettings, Usage
from sandwiching.tasks.columns import hash_rater
from sandwiching.tasks.model_raters import BothOrders, Critic, ModelRater, Said, by_choice, by_text
from sandwiching.tasks.records import Judgement, Pair, Tier
from sandwiching.training.artifacts import StageFolder, write_atomic
from sandwiching.training.language_model import language_model
from sandwiching.training.roles import Roles

CHUNK = 64
"""Pairs asked about at once."""
EXAMPLES = 3
SHOWN = 80
"""Unread answers that an error shows, and characters of each."""
USAGE = "usage.json"
"""What a server was asked up to its last answer, over all attempts."""


def judge_with_model(
    pairs: Sequence[Pair],
    judgements: JudgementsConfig,
    tier: Tier,
    parents: Mapping[str, Path],
    folder: StageFolder,
    roles: Roles,
) -> tuple[list[Judgement], dict[str, float]]:
    """One judgement a pair, the share of unread answers, and what was used: requests, tokens and cost of a server.

    Raises ValueError when more answers than judgements.model.most_unread give no verdict.
    """
    helped: list[str | None] = [None] * len(pairs)
    if judgements.assistance != "none":
        place = resolve(judgements.assistant) if judgements.assistant is not None else parents["sft"] / "model"
        critic = Critic(
            language_model(place, roles, judgements.model.max_new_tokens), judgements.assistance == "honest"
        )
        helped = list(in_chunks("critiques", pairs, lambda part, _: critic.critiques(part), folder))
    rater, usage = model_rater(judgements.model, tier, folder, roles)

    def ask(part: Sequence[Pair], start: int) -> list[list[Said]]:
        found = rater.ask(part, helped[start : start + len(part)])
        if usage is not None:
            keep_usage(usage, folder)
        return [[one.first, one.second] for one in found]

    said = [BothOrders(*both) for both in in_chunks("orders", pairs, ask, folder)]
    unread = share_unread(said, judgements.model.most_unread)
    rows = [rater.judgement(*one) for one in zip(pairs, helped, said, strict=True)]
    return rows, {"judgements/unread": unread, **({} if usage is None else used(usage, judgements.model))}


def share_unread(said: Sequence[BothOrders], most: float) -> float:
    """Share of answers that gave no verdict. Raises ValueError, with some of them, when it exceeds `most`."""
    unread = [answer for both in said for answer in both.unread]
    share = len(unread) / (2 * len(said)) if said else 0.0
    if share > most:
        examples = ", ".join(repr(answer[:SHOWN]) for answer in list(dict.fromkeys(unread))[:EXAMPLES])
        raise ValueError(
            f"judgements: {len(unread)} of {2 * len(said)} answers of the model rater give no verdict, as {examples}; "
            f"that is more than judgements.model.most_unread={most:g}. Set judgements.model.answer=choice (local "
            "models), or judgements.model.max_new_tokens higher, or another model; or raise most_unread: such answers "
            "count as even"
        )
    return share


def model_rater(
    model: ModelRaterConfig, tier: Tier, folder: StageFolder, roles: Roles
) -> tuple[ModelRater, Usage | None]:
    """The rater, and the count of what a server was asked."""
    if model.url is not None:
        kept = folder.cache / USAGE
        before = Usage(**json.loads(kept.read_text())) if kept.exists() else Usage()
        settings = chat_settings(model, folder.cache / "chat")
        client = ChatClient(settings, before, lambda usage: keep_usage(usage, folder))
        name = hash_rater(f"model {model.url} {model.name}")
        return ModelRater(name, tier, by_text(client), model.disagreement), client.usage
    path = str(model.path)
    local = language_model(resolve(path, model.revision), roles, model.max_new_tokens)
    ask = by_choice(local) if model.answer == "choice" else by_text(local)
    return ModelRater(hash_rater(f"model {identity(path, model.revision)}"), tier, ask, model.disagreement), None


def keep_usage(usage: Usage, folder: StageFolder) -> None:
    """Write down what was asked so far."""
    write_atomic(folder.cache / USAGE, json.dumps(asdict(usage)))


def chat_settings(model: ModelRaterConfig, cache: Path) -> ChatSettings:
    """The client's settings; the key comes from the environment alone."""
    return ChatSettings(
        url=str(model.url),
        name=str(model.name),
        cache=cache if model.cache is None else Path(model.cache).expanduser(),
        temperature=model.temperature,
        max_tokens=model.max_new_tokens,
        concurrency=model.concurrency,
        retries=model.retries,
        timeout=model.timeout,
        backoff=model.backoff,
        key=os.environ.get(model.key_variable),
    )


def used(usage: Usage, model: ModelRaterConfig) -> dict[str, float]:
    """Usage as metrics of the stage."""
    return {
        "judgements/requests": usage.requests,
        "judgements/retries": usage.retries,
        "judgements/cached": usage.cached,
        "judgements/tokens_in": usage.tokens_in,
        "judgements/tokens_out": usage.tokens_out,
        "judgements/cost": usage.cost(model.price_in, model.price_out),
    }


def in_chunks(
    name: str, pairs: Sequence[Pair], work: Callable[[Sequence[Pair], int], list[Any]], folder: StageFolder
) -> list[Any]:
    """One JSON value a pair. Chunks done before a crash are kept in the stage's cache."""
    folder.cache.mkdir(exist_ok=True)
    found: list[Any] = []
    for start in range(0, len(pairs), CHUNK):
        part = pairs[start : start + CHUNK]
        file = folder.cache / f"{name}_{start}_{len(part)}.json"
        if not file.exists():
            content = json.dumps(work(part, start))
            folder.check_attempt()
            write_atomic(file, content)
        found += json.loads(file.read_text())
        folder.report(start + len(part), len(pairs))
        folder.stop_if_asked()
    return found
