"""Text of models and people as it is, on a page: nothing in it acts on the page or on the text around it."""

from __future__ import annotations

import unicodedata

BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks that turn the direction of what follows, also outside the text."""
KEPT = "\n\t"


def visible(text: str) -> str:
    """Control characters, marks of direction and lone surrogates, which UTF-8 has not, by their number."""
    return "".join(_shown(letter) for letter in text.replace("\r\n", "\n"))


def _shown(letter: str) -> str:
    hidden = unicodedata.category(letter) in ("Cc", "Cs") or letter in BIDI
    return f"\u27e8U+{ord(letter):04X}\u27e9" if hidden and letter not in KEPT else letter
