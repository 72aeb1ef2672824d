"""Names in free text: folding of accents and spelling marks, and the first name of a list that a text mentions."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field

_LETTERS = str.maketrans(
    {"ł": "l", "Ł": "L", "ø": "o", "Ø": "O", "đ": "d", "Đ": "D", "ı": "i", "ß": "ss", "æ": "ae", "Æ": "Ae"}
)
_MARKS = re.compile(r"['’‘ʼ`´]")
_POSSESSIVE = re.compile(r"['’]s\b")
_WORD = re.compile(r"[^\W_]+")

WRITTEN_LARGE = frozenset({"us", "car", "male", "split", "nice", "man"})
"""Names that are also English words: they count only with a capital letter."""


def plain(text: str) -> str:
    """The text without accents."""
    text = unicodedata.normalize("NFKD", text.translate(_LETTERS))
    return "".join(letter for letter in text if not unicodedata.combining(letter))


def words(text: str) -> list[str]:
    """The words of a text, accents and punctuation dropped, case kept."""
    return _WORD.findall(plain(_MARKS.sub("", _POSSESSIVE.sub("", text))))


def fold(text: str) -> str:
    """What two spellings of one name have in common."""
    return " ".join(words(text)).casefold()


@dataclass(slots=True)
class Gazetteer:
    """Names by spelling. One spelling may stand for several names (two Congos)."""

    keys: dict[tuple[str, ...], frozenset[str]] = field(default_factory=dict)
    longest: int = 0

    def add(self, key: str, spellings: Iterable[str]) -> None:
        """Add the spellings of a name. The empty key marks phrases that only look like a name."""
        for spelling in spellings:
            tokens = tuple(fold(spelling).split())
            if tokens:
                self.keys[tokens] = self.keys.get(tokens, frozenset()) | {key}
                self.longest = max(self.longest, len(tokens))

    def mentions(self, text: str) -> list[frozenset[str]]:
        """The names that a text mentions, in order; of overlapping ones the longest from the left."""
        written = words(text)
        folded = [word.casefold() for word in written]
        found, start = [], 0
        while start < len(folded):
            for length in range(min(self.longest, len(folded) - start), 0, -1):
                tokens = tuple(folded[start : start + length])
                small = length == 1 and tokens[0] in WRITTEN_LARGE and not written[start][0].isupper()
                if tokens in self.keys and not small:
                    found.append(self.keys[tokens])
                    start += length - 1
                    break
            start += 1
        return [keys - {""} for keys in found if keys != {""}]
