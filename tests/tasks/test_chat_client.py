"""The client against a real server on loopback that speaks the chat-completions format, and misbehaves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandwiching.tasks.chat_client import ChatClient, ChatError, ChatSettings, Usage
from sandwiching.tasks.model_raters import ModelRater, by_text
from sandwiching.tasks.records import Pair, Prompt


@pytest.fixture
def settings(chat_server: Any, tmp_path: Path) -> ChatSettings:
    return ChatSettings(chat_server.url, "some-model", tmp_path / "cache", backoff=0.01, timeout=10.0, concurrency=3)


def test_answers_come_in_order_and_no_more_requests_run_than_allowed(chat_server: Any, settings: ChatSettings) -> None:
    client = ChatClient(settings)
    prompts = [f"word {number}" for number in range(12)]
    assert client.write(prompts) == [f"you said {prompt}" for prompt in prompts]
    assert chat_server.most == 3
    assert client.usage.requests == 12
    assert (client.usage.tokens_in, client.usage.tokens_out) == (24, 24)
    assert client.usage.cost(price_in=10.0, price_out=100.0) == pytest.approx((240 + 2400) / 1e6)
    assert chat_server.bodies[0]["model"] == "some-model"
    assert chat_server.bodies[0]["temperature"] == 0.0
    assert chat_server.bodies[0]["max_tokens"] == 64


def test_busy_and_broken_answers_are_asked_again(chat_server: Any, settings: ChatSettings) -> None:
    chat_server.trouble = {"busy": [429, 429], "broken": [500, 503]}
    client = ChatClient(settings)
    assert client.write(["busy", "broken", "calm"]) == ["you said busy", "you said broken", "you said calm"]
    assert chat_server.seen == {"busy": 3, "broken": 3, "calm": 1}
    assert client.usage.retries == 4
    assert client.usage.requests == 3


def test_a_hang_is_given_up_and_asked_again(chat_server: Any, settings: ChatSettings) -> None:
    chat_server.hangs["stuck"] = 1
    client = ChatClient(replace(settings, timeout=2.0))
    assert client.write(["stuck", "calm"]) == ["you said stuck", "you said calm"]
    assert chat_server.seen == {"stuck": 2, "calm": 1}
    assert client.usage.retries == 1


def test_answers_are_kept_by_content(chat_server: Any, settings: ChatSettings) -> None:
    assert ChatClient(settings).write(["one", "one", "two"]) == ["you said one", "you said one", "you said two"]
    assert chat_server.seen == {"one": 1, "two": 1}
    again = ChatClient(settings)
    assert again.write(["two", "three"]) == ["you said two", "you said three"]
    assert (again.usage.cached, again.usage.requests) == (1, 1)
    ChatClient(replace(settings, name="other-model")).write(["one"])
    ChatClient(replace(settings, temperature=0.5)).write(["one"])
    assert chat_server.seen == {"one": 3, "two": 1, "three": 1}


def test_what_was_answered_before_a_failure_is_not_asked_again(chat_server: Any, settings: ChatSettings) -> None:
    chat_server.trouble = {"bad": [500] * 3}
    client = ChatClient(replace(settings, retries=2, concurrency=1))
    with pytest.raises(ChatError, match=r"status 500: not now \(after 3 tries\)"):
        client.write(["good", "bad"])
    assert ChatClient(settings).write(["good", "bad"]) == ["you said good", "you said bad"]
    assert chat_server.seen == {"good": 1, "bad": 4}


def test_every_answer_is_counted_before_it_is_kept(chat_server: Any, settings: ChatSettings) -> None:
    seen: list[tuple[int, int]] = []

    def counted(usage: Usage) -> None:
        seen.append((usage.requests, len(list(settings.cache.rglob("*.json")))))
        if usage.requests == 3:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        ChatClient(replace(settings, concurrency=1), counted=counted).write([f"word {number}" for number in range(5)])
    assert seen == [(1, 0), (2, 1), (3, 2)], "the third was paid, and is asked again"


@pytest.mark.parametrize(("status", "remedy"), [(401, "check the key"), (400, "check judgements.model")])
def test_a_refusal_is_final(chat_server: Any, settings: ChatSettings, status: int, remedy: str) -> None:
    chat_server.trouble = {"no": [status]}
    with pytest.raises(ChatError, match=f"status {status}.*{remedy}"):
        ChatClient(settings).write(["no"])
    assert chat_server.seen == {"no": 1}


def test_no_server_says_so(settings: ChatSettings) -> None:
    nowhere = replace(settings, url="http://127.0.0.1:9/v1", retries=1)
    with pytest.raises(ChatError, match=r"after 2 tries.*is the server up"):
        ChatClient(nowhere).write(["x"])


def test_the_key_is_sent_and_written_nowhere(chat_server: Any, settings: ChatSettings) -> None:
    client = ChatClient(replace(settings, key="sk-secret"))
    client.write(["x"])
    assert chat_server.keys == {"Bearer sk-secret"}
    kept = [file.read_text() for file in settings.cache.rglob("*.json")]
    assert len(kept) == 1
    assert json.loads(kept[0])["content"] == "you said x"
    assert "sk-secret" not in kept[0] + repr(client)


def test_a_rater_behind_a_url_asks_both_orders(chat_server: Any, settings: ChatSettings) -> None:
    rater = ModelRater("model", "weak", by_text(ChatClient(settings)))
    prompt = Prompt("p", "Name a capital.", "g", "k")
    pairs = [Pair("1", prompt, "Rome", "Rome, of course"), Pair("2", prompt, "Rome!", "Oslo!")]
    longer, equal = rater.judge_all(pairs, ["a hint", None])
    assert (longer.preference, longer.confidence, longer.assistance) == ("b", 1.0, "a hint")
    assert (equal.preference, equal.confidence, equal.assistance) == ("tie", 0.5, None)
    asked = list(chat_server.seen)
    assert len(asked) == 4
    assert sum("An assistant says:\na hint" in text for text in asked) == 2
