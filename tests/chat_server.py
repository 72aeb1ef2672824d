"""A server on loopback that speaks the chat-completions format, and misbehaves when told to."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

SLOW = 0.05
"""Seconds that an answer takes."""


@dataclass
class Server:
    """Answers with the longer of two responses, or what it `says`. trouble: by a word in the prompt, statuses before it
    is answered."""

    url: str = ""
    says: str | None = None
    trouble: dict[str, list[int]] = field(default_factory=dict)
    hangs: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)
    now: int = 0
    most: int = 0

    async def answer(self, request: web.Request) -> web.Response:
        """POST /v1/chat/completions."""
        body = await request.json()
        prompt = body["messages"][0]["content"]
        self.now += 1
        self.most = max(self.most, self.now)
        self.seen[prompt] += 1
        self.bodies.append(body)
        self.keys.add(request.headers.get("Authorization"))
        try:
            await asyncio.sleep(SLOW)
            for word, left in self.hangs.items():
                if word in prompt and left:
                    self.hangs[word] -= 1
                    await asyncio.sleep(30)
            for word, statuses in self.trouble.items():
                if word in prompt and statuses:
                    return web.Response(status=statuses.pop(0), headers={"Retry-After": "0.01"}, text="not now")
        finally:
            self.now -= 1
        if self.says is not None:
            said = self.says
        elif "Response A:\n" in prompt:
            first = prompt.split("Response A:\n")[1].split("\n\nResponse B:")[0]
            second = prompt.split("Response B:\n")[1].split("\n\n")[0]
            said = "A" if len(first) > len(second) else "B" if len(first) < len(second) else "tie"
        else:
            said = f"you said {prompt}"
        usage = {"prompt_tokens": len(prompt.split()), "completion_tokens": 2}
        message = {"role": "assistant", "content": said}
        return web.json_response({"choices": [{"index": 0, "message": message}], "usage": usage})


@contextmanager
def serving() -> Iterator[Server]:
    """In a thread with a loop of its own, since the client starts one too."""
    found, loop, started = Server(), asyncio.new_event_loop(), threading.Event()

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", found.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        found.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        return runner

    def serve() -> None:
        asyncio.set_event_loop(loop)
        runners.append(loop.run_until_complete(start()))
        started.set()
        loop.run_forever()
        loop.run_until_complete(runners[0].cleanup())
        loop.close()

    runners: list[web.AppRunner] = []
    thread = threading.Thread(target=serve)
    thread.start()
    assert started.wait(10)
    yield found
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    assert not thread.is_alive()
