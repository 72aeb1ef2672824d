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
from sandwiching.tasks.model_raters import Critic, ModelRater, by_choice, by_text
from sandwiching.tasks.records import Judgement, Pair, Tier
from sandwiching.training.artifacts import StageFolder, write_atomic
from sandwiching.training.language_model import language_model
from sandwiching.training.roles import Roles

CHUNK = 64
"""Pairs asked about at once."""
USAGE = "usage.json"
"""What a server was asked up to the last chunk, over all attempts."""


def judge_with_model(
    pairs: Sequence[Pair],
    judgements: JudgementsConfig,
    tier: Tier,
    parents: Mapping[str, Path],
    folder: StageFolder,
    roles: Roles,
) -> tuple[list[Judgement], dict[str, float]]:
    """One judgement a pair, and what was used: requests, tokens and cost of a server."""
    helped: list[str | None] = [None] * len(pairs)
    if judgements.assistance != "none":
        place = resolve(judgements.assistant) if judgements.assistant is not None else parents["sft"] / "model"
        critic = Critic(
            language_model(place, roles, judgements.model.max_new_tokens), judgements.assistance == "honest"
        )
        helped = list(in_chunks("critiques", pairs, lambda part, _: critic.critiques(part), folder))
    rater, usage = model_rater(judgements.model, tier, folder, roles)

    def judge(part: Sequence[Pair], start: int) -> list[dict[str, Any]]:
        found = rater.judge_all(part, helped[start : start + len(part)])
        if usage is not None:
            write_atomic(folder.cache / USAGE, json.dumps(asdict(usage)))
        return [{name: getattr(one, name) for name in ("preference", "confidence", "shown")} for one in found]

    verdicts = in_chunks("judged", pairs, judge, folder)
    rows = [
        Judgement(
            prompt=pair.prompt.text,
            response_a=pair.response_a,
            response_b=pair.response_b,
            rater=rater.id,
            tier=tier,
            group=pair.prompt.group,
            pair=pair.id,
            assistance=critique,
            **verdict,
        )
        for pair, critique, verdict in zip(pairs, helped, verdicts, strict=True)
    ]
    return rows, used(usage, judgements.model) if usage is not None else {}


def model_rater(
    model: ModelRaterConfig, tier: Tier, folder: StageFolder, roles: Roles
) -> tuple[ModelRater, Usage | None]:
    """The rater, and the count of what a server was asked."""
    if model.url is not None:
        kept = folder.cache / USAGE
        before = Usage(**json.loads(kept.read_text())) if kept.exists() else Usage()
        client = ChatClient(chat_settings(model, folder.cache / "chat"), before)
        name = hash_rater(f"model {model.url} {model.name}")
        return ModelRater(name, tier, by_text(client), model.disagreement), client.usage
    path = str(model.path)
    local = language_model(resolve(path, model.revision), roles, model.max_new_tokens)
    ask = by_choice(local) if model.answer == "choice" else by_text(local)
    return ModelRater(hash_rater(f"model {identity(path, model.revision)}"), tier, ask, model.disagreement), None


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
