"""Model raters and critics on models whose answers are known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from sandwiching.tasks.model_raters import (
    BothOrders,
    Critic,
    ModelRater,
    Said,
    by_choice,
    by_text,
    combined,
    question,
    quoted,
)
from sandwiching.tasks.records import Pair, Prompt

PROMPT = Prompt("p", "What is the capital of Italy?", "Italy", "capital")
PAIR = Pair("pair", PROMPT, "Rome", "It is Milan")


class Believer:
    """Finds what it was told to be better by log-odds `sure`, and what is shown first by `first`."""

    def __init__(self, believes: str, sure: float, first: float = 0.0) -> None:
        self.believes, self.sure, self.first = believes, sure, first
        self.asked: list[str] = []

    def choose(self, prompts: Sequence[str], options: Sequence[str]) -> list[list[float]]:
        assert tuple(options) == ("A", "B")
        self.asked += prompts
        found = []
        for prompt in prompts:
            shown_first = prompt.split("Response A:\n")[1].startswith(self.believes)
            found.append([self.first + (self.sure if shown_first else -self.sure), 0.0])
        return found

    def write(self, prompts: Sequence[str]) -> list[str]:
        self.asked += prompts
        return [f"because of {prompt.split('Response:')[1].split()[0]}" for prompt in prompts]


def test_both_orders_are_averaged_and_said() -> None:
    model = Believer("Rome", sure=1.0)
    verdict = ModelRater("m", "weak", by_choice(model)).judge(PAIR)
    assert verdict.preference == "a"
    assert verdict.confidence == pytest.approx(1 / (1 + math.exp(-1)), abs=1e-3)
    assert verdict.shown == "both orders; P(a) 0.731 with a first, 0.731 with b first"
    assert len(model.asked) == 2
    assert (verdict.rater, verdict.tier, verdict.group, verdict.pair) == ("m", "weak", "Italy", "pair")


def test_a_model_that_takes_the_first_whatever_it_is_learns_nothing_from_the_side() -> None:
    verdict = ModelRater("m", "weak", by_choice(Believer("Rome", sure=0.0, first=3.0))).judge(PAIR)
    assert (verdict.preference, verdict.confidence) == ("tie", 0.5)
    leaning = Believer("Rome", sure=0.2, first=3.0)
    averaged = ModelRater("m", "weak", by_choice(leaning)).judge(PAIR)
    assert averaged.preference == "a"
    assert 0.5 < (averaged.confidence or 0) < 0.52
    tied = ModelRater("m", "weak", by_choice(leaning), disagreement="tie").judge(PAIR)
    assert (tied.preference, tied.confidence) == ("tie", 0.5)


@pytest.mark.parametrize(
    ("first", "second", "disagreement", "expected"),
    [
        (0.9, 0.7, "average", ("a", 0.8)),
        (0.9, 0.7, "tie", ("a", 0.8)),
        (0.9, 0.3, "average", ("a", 0.6)),
        (0.9, 0.3, "tie", ("tie", 0.5)),
        (0.1, 0.2, "tie", ("b", 0.85)),
        ("hm", 1.0, "average", ("a", 0.75)),
        ("hm", 1.0, "tie", ("tie", 0.5)),
        ("hm", "er", "average", ("tie", 0.5)),
    ],
)
def test_combined(first: Said, second: Said, disagreement: str, expected: tuple[str, float]) -> None:
    preference, confidence = combined(BothOrders(first, second), disagreement)
    assert (preference, pytest.approx(confidence)) == expected


def test_an_answer_without_a_verdict_counts_as_none() -> None:
    class Mumbler:
        def write(self, prompts: Sequence[str]) -> list[str]:
            return ["hm"] * len(prompts)

    rater = ModelRater("m", "weak", by_text(Mumbler()))
    assert rater.ask([PAIR], [None])[0].unread == ["hm", "hm"]
    verdict = rater.judge(PAIR)
    assert (verdict.preference, verdict.shown) == (
        "tie",
        "both orders; P(a) not given with a first, not given with b first",
    )


def test_honest_critics_argue_for_what_they_find_better_and_dishonest_ones_for_the_other() -> None:
    model = Believer("Rome", sure=1.0)
    assert Critic(model, honest=True).critiques([PAIR]) == ['"Rome" is the better response. because of Rome']
    assert Critic(model, honest=False).critiques([PAIR]) == ['"It is Milan" is the better response. because of It']
    told = Critic(model, honest=True).critiques([PAIR], ["b"])
    assert told == ['"It is Milan" is the better response. because of It']
    assert Critic(model, honest=False).critiques([PAIR], ["b"])[0].startswith('"Rome"')


def test_a_critique_stands_in_the_question_and_in_the_row() -> None:
    assert "An assistant says:\nTrust me." in question("?", "x", "y", "Trust me.")
    assert "assistant" not in question("?", "x", "y")
    model = Believer("Rome", sure=1.0)
    verdict = ModelRater("m", "weak", by_choice(model)).judge(PAIR, "Trust me.")
    assert verdict.assistance == "Trust me."
    assert all("Trust me." in asked for asked in model.asked)


def test_chat_messages_and_long_quotes() -> None:
    assert "user: hi\nassistant: yes?" in question(
        ({"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes?"}), "x", "y"
    )
    assert quoted("one two") == "one two"
    assert quoted("w " * 30) == "w " * 20 + "..."
