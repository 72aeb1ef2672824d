"""The verdict in what a model wrote about response A and response B.

    a line that is nothing but the verdict, first or last -> it
    else what the prose says is better ("A is better than B", "I prefer B", "the answer is A") -> that, if it is one

What contradicts itself gives no verdict: a wrong reading costs more than none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

READER = 2
"""Version of read_verdict; in the key of judgements that it reads. Raise it when an answer is read otherwise."""

_OPEN = r"[\s*_`\"'“‘(\[]*"
_CLOSE = r"[*_`\"'”’)\]]*"
_NOUN = r"(?i:(?:answer|response|option|choice)\s+)?"
_SIDE = rf"{_OPEN}\b{_NOUN}{_OPEN}([AB])\b{_CLOSE}"
_NO_LIST = r"(?!\s*(?:or|and|nor|/)\b)"
_NAMED = r"answer|verdict|choice|preference|winner|judge?ment|decision|pick"
_BEST = r"better|best|superior|preferable|preferred|stronger"
_IS = r"(?:is|was|seems|looks|appears|sounds|reads|would\s+be)"
_WORDS = (
    r"(?:(?!(?:not|no|never|hardly|neither|nor|rarely|less|worse|but|and|or|while|whereas|though|than|is|are|a|b)\b)"
    r"[\w'’-]+\s+|an?\s+){0,4}"
)
"""At most four words between a response and what it is, which neither deny it nor begin a new clause."""

_ALONE = re.compile(
    rf"{_OPEN}(?:(?:(?:so|thus|hence|therefore|the|my|final|overall|better|best)[\s,]+)*"
    rf"(?:{_NAMED}|response|option)\b{_CLOSE}(?:\s+(?:is|would\s+be))?[\s*_:=-]*)?"
    rf"{_OPEN}(?:(?:answer|response|option)\s+)?{_OPEN}(a|b|(?:a\s+)?tie)[\s*_`\"'”’)\].,:;!]*",
    re.IGNORECASE,
)
_LEADING = re.compile(
    rf"{_OPEN}{_NOUN}{_OPEN}([AB]|[Tt]ie)\b{_CLOSE}"
    rf"(?:\s*[.;!–—]|\s+-\s|\s*,(?!{_OPEN}[AB]\b)|\s+(?:because|since|as)\b)"
)
_SUPPOSED = re.compile(r"\b(?:if|whether|unless)\b[^.,;:!?\n]*", re.IGNORECASE)
_FOR = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?<!not )(?<!n't )(?<!n’t )(?<!never )(?<!than )"
        r"(?i:\b(?:choose|chose|prefer|pick|select|favou?r|recommend|(?:go|going)\s+(?:with|for)|vote\s+for))\s+"
        rf"{_SIDE}{_NO_LIST}",
        rf"(?i:\b(?:{_NAMED}|(?:{_BEST})(?:\s+(?:one|answer|response|option|choice))?)(?:\s+of\s+the\s+two)?)"
        rf"\s*(?i:is|would\s+be|:|=)[\s*_:]*{_SIDE}{_NO_LIST}",
        rf"{_SIDE}\s+(?i:{_IS}\s+{_WORDS}(?:{_BEST}|winner)\b)",
        rf"{_SIDE}\s+(?i:wins|beats|outperforms|surpasses)\b",
    )
)
_AGAINST = re.compile(rf"{_SIDE}\s+(?i:{_IS}\s+{_WORDS}(?:worse|worst|inferior|weaker)\b)")
_EVEN = re.compile(
    rf"(?<!not )\ba\s+tie\b|\b(?:{_NAMED})\s*(?:is|:)\s*tie\b|(?<!not )\bequally\s+\w+|"
    r"\bneither\s+(?:\w+\s+){0,3}better\b",
    re.IGNORECASE,
)


def read_verdict(answer: str) -> float | None:
    """1 for A, 0 for B, 1/2 for a tie; None where the text gives no verdict, or two.

    A last line that is nothing but the verdict stands whatever was weighed before, unless the first line is another
    verdict; what comes after a verdict in the first line must not contradict it.
    """
    lines = [line for line in answer.splitlines() if line.strip()]
    if not lines:
        return None
    first, last = _alone(lines[0]), _alone(lines[-1])
    if last is not None:
        return last if first in (None, last) else None
    found = set(_claims(_SUPPOSED.sub("", answer)))
    leading = _leading(answer) if first is None else first
    if leading is not None:
        found.add(leading)
    return found.pop() if len(found) == 1 else None


def _value(word: str) -> float:
    return {"a": 1.0, "b": 0.0}.get(word.lower(), 0.5)


def _alone(line: str) -> float | None:
    found = _ALONE.fullmatch(line.strip())
    return None if found is None else _value(found[1])


def _leading(answer: str) -> float | None:
    """Of an answer that begins with the verdict and goes on; two lettered lines are the question, said again."""
    found = _LEADING.match(answer)
    if found is None:
        return None
    other = {"A": "B", "B": "A"}.get(found[1])
    listed = other is not None and re.search(rf"\n{_OPEN}{_NOUN}{other}\b{_CLOSE}\s*[.:]", answer)
    return None if listed else _value(found[1])


def _claims(text: str) -> Iterator[float]:
    for pattern in _FOR:
        for found in pattern.finditer(text):
            yield _value(found[1])
    for found in _AGAINST.finditer(text):
        yield 1 - _value(found[1])
    if _EVEN.search(text):
        yield 0.5
