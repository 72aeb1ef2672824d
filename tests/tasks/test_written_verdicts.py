"""What models write is read as they mean it, or not at all."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandwiching.tasks.written_verdicts import read_verdict

PLAIN = [
    ("A", 1.0),
    ("B.", 0.0),
    (" **A** ", 1.0),
    ("[[B]]", 0.0),
    ("(A)", 1.0),
    ("Response B", 0.0),
    ("**Answer:** B", 0.0),
    ("The better response is B.", 0.0),
    ("B\nA is wrong.", 0.0),
    ("A better answer is B", 0.0),
    ("The better response is A, since B is wrong.", 1.0),
    ("Response A is wrong. So the answer is: B", 0.0),
    ("I think response A is better than response B", 1.0),
    ("A is better.", 1.0),
    ("Response B is the better response.", 0.0),
    ("B is clearly better than A, which is vague.", 0.0),
    ("I prefer A over B.", 1.0),
    ("I would go with response B because it is short.", 0.0),
    ("A, because it names the capital.", 1.0),
    ("B. It is the right one.", 0.0),
    ("A is worse than B.", 0.0),
    ("Response B seems weaker.", 1.0),
    ("A beats B.", 1.0),
    ("B wins.", 0.0),
    ("My choice would be A.", 1.0),
    ("I do not prefer B. A is better.", 1.0),
    ("If B is better at dates, A is better.", 1.0),
    ("To find whether response A is better than response B, look at the facts. Response B is better.", 0.0),
    ("Response A is better in style.\nYet it is wrong.\n\nFinal answer: B", 0.0),
    ("A is better here and B is better there.\n**B**", 0.0),
    ("A is fine but B is better.", 0.0),
    ("**A** is better than **B**", 1.0),
    ("tie", 0.5),
    ("Tie.", 0.5),
    ("It's a tie.", 0.5),
    ("Both are equally good.", 0.5),
    ("Neither response is better.", 0.5),
    ("b", 0.0),
]
UNREAD = [
    "I cannot tell.",
    "A man walks by.",
    "",
    "\n \n",
    "A is better. B is better.",
    "A\nB is better.",
    "A\nBoth have merits.\nB",
    "A is not better.",
    "I would not choose A.",
    "Choose A or B.",
    "A, B",
    "A is no better than B.",
    "Is response A better?",
    "A. Rome\nB. Paris",
    "A: Rome\nB: Paris",
    "It is not a tie.",
    "A is better, but it is a tie.",
]


@pytest.mark.parametrize(("answer", "verdict"), PLAIN)
def test_verdicts_are_read(answer: str, verdict: float) -> None:
    assert read_verdict(answer) == verdict


@pytest.mark.parametrize("answer", UNREAD)
def test_what_gives_no_verdict_or_two_is_not_read(answer: str) -> None:
    assert read_verdict(answer) is None


@pytest.mark.parametrize(("answer", "verdict"), [one for one in PLAIN if not one[0].startswith(("A better", "b"))])
def test_the_same_words_about_the_other_response_are_the_other_verdict(answer: str, verdict: float) -> None:
    swapped = re.sub(r"\b[AB]\b", lambda found: "B" if found[0] == "A" else "A", answer)
    assert read_verdict(swapped) == 1 - verdict


@given(st.text(alphabet="AB aeirtbswo.,\n'*", max_size=60))
def test_no_text_is_too_much(answer: str) -> None:
    assert read_verdict(answer) in (None, 0.0, 0.5, 1.0)
