"""A model behind an OpenAI-compatible URL (POST {url}/chat/completions): requests side by side, asked again when the
server is busy or lost, answers kept on disk by content, tokens counted."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from sandwiching.tasks.atomic import write_atomic

AGAIN = frozenset({408, 409, 425, 429})
"""Statuses after which the same request may succeed, besides 5xx."""
LONGEST_WAIT = 60.0
SHOWN = 300
"""Characters of an answer that an error shows."""


class ChatError(RuntimeError):
    """A request that failed for good."""


class _Busy(Exception):
    """A request that failed and may be sent again; seconds: how long the server says to wait."""

    def __init__(self, problem: str, seconds: float | None = None) -> None:
        super().__init__(problem)
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """As configs.people_block.ModelRaterConfig; key: of the API, or None to send none."""

    url: str
    name: str
    cache: Path
    temperature: float = 0.0
    max_tokens: int = 64
    concurrency: int = 8
    retries: int = 5
    timeout: float = 60.0
    backoff: float = 1.0
    key: str | None = field(default=None, repr=False)


@dataclass(slots=True)
class Usage:
    """What was asked so far: answered requests, those sent again, answers from the cache, tokens of the answered."""

    requests: int = 0
    retries: int = 0
    cached: int = 0
    tokens_in: int = 0
    tokens_out: int = 0

    def cost(self, price_in: float, price_out: float) -> float:
        """Money, at prices for a million tokens."""
        return (self.tokens_in * price_in + self.tokens_out * price_out) / 1e6


@dataclass(slots=True)
class ChatClient:
    """A Writer (model_raters.py). Not for several threads. counted: told the usage so far with every answer."""

    settings: ChatSettings
    usage: Usage = field(default_factory=Usage)
    counted: Callable[[Usage], None] = lambda _: None

    def write(self, prompts: Sequence[str]) -> list[str]:
        """An answer to each prompt; equal prompts are asked once.

        Raises ChatError when the server refuses, or does not answer `retries` times over.
        """
        found = {prompt: self._kept(prompt) for prompt in prompts}
        missing = [prompt for prompt, answer in found.items() if answer is None]
        self.usage.cached += len(found) - len(missing)
        if missing:
            found |= zip(missing, asyncio.run(self._ask_all(missing)), strict=True)
        return [str(found[prompt]) for prompt in prompts]

    async def _ask_all(self, prompts: Sequence[str]) -> list[str]:
        limit = asyncio.Semaphore(self.settings.concurrency)
        headers = {"Authorization": f"Bearer {self.settings.key}"} if self.settings.key else {}
        timeout = aiohttp.ClientTimeout(total=self.settings.timeout)
        connector = aiohttp.TCPConnector(limit=self.settings.concurrency)
        async with aiohttp.ClientSession(headers=headers, timeout=timeout, connector=connector) as session:

            async def ask(prompt: str) -> str:
                async with limit:
                    return await self._ask(session, prompt)

            return await asyncio.gather(*(ask(prompt) for prompt in prompts))

    async def _ask(self, session: aiohttp.ClientSession, prompt: str) -> str:
        """The answer to one prompt, asked again as often as the settings say."""
        for attempt in range(self.settings.retries + 1):
            try:
                body = await self._post(session, prompt)
            except (_Busy, TimeoutError, aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
                if attempt == self.settings.retries:
                    tries = f"{attempt + 1} tries" if attempt else "1 try"
                    problem = str(error) or f"no answer within {self.settings.timeout:g} s"
                    raise ChatError(f"{self._place()}: {problem} (after {tries}); is the server up?") from error
                self.usage.retries += 1
                await asyncio.sleep(self._wait(attempt, getattr(error, "seconds", None)))
            else:
                return self._take(prompt, body)
        raise AssertionError("the last try returns or raises")

    async def _post(self, session: aiohttp.ClientSession, prompt: str) -> Any:
        async with session.post(self._place(), json=self._request(prompt)) as answer:
            text = await answer.text()
            if answer.status in AGAIN or answer.status >= 500:
                seconds = answer.headers.get("Retry-After", "")
                said = float(seconds) if seconds.replace(".", "", 1).isdigit() else None
                raise _Busy(f"status {answer.status}: {text[:SHOWN]}", said)
            if answer.status != 200:
                remedy = "; check the key" if answer.status in (401, 403) else "; check judgements.model"
                raise ChatError(f"{self._place()}: status {answer.status}: {text[:SHOWN]}{remedy}")
            try:
                return json.loads(text)
            except json.JSONDecodeError as error:
                raise ChatError(f"{self._place()}: the answer is no JSON: {text[:SHOWN]}") from error

    def _take(self, prompt: str, body: Any) -> str:
        """The text of an answer, which is counted and kept."""
        try:
            content = body["choices"][0]["message"]["content"] or ""
            tokens = body.get("usage") or {}
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            shown = json.dumps(body)[:SHOWN]
            raise ChatError(f"{self._place()}: the answer is no chat completion: {shown}") from error
        self.usage.requests += 1
        self.usage.tokens_in += int(tokens.get("prompt_tokens") or 0)
        self.usage.tokens_out += int(tokens.get("completion_tokens") or 0)
        # Before the answer is kept: one that is lost in between is asked, paid and counted again.
        self.counted(self.usage)
        file = self._file(prompt)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, json.dumps({"request": self._request(prompt), "content": content, "usage": tokens}))
        return content

    def _kept(self, prompt: str) -> str | None:
        file = self._file(prompt)
        return json.loads(file.read_text())["content"] if file.exists() else None

    def _file(self, prompt: str) -> Path:
        content = json.dumps([self._place(), self._request(prompt)], sort_keys=True)
        name = hashlib.sha256(content.encode()).hexdigest()
        return self.settings.cache / name[:2] / f"{name}.json"

    def _request(self, prompt: str) -> dict[str, Any]:
        return {
            "model": self.settings.name,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": self.settings.temperature,
            "max_tokens": self.settings.max_tokens,
        }

    def _place(self) -> str:
        return f"{self.settings.url.rstrip('/')}/chat/completions"

    def _wait(self, attempt: int, said: float | None) -> float:
        """Seconds before the next try: what the server says, else doubled each time, and spread out."""
        return min(
            LONGEST_WAIT, said if said is not None else self.settings.backoff * 2**attempt * random.uniform(0.5, 1)
        )
