"""Prompts that are held out and trained on at once, word for word or nearly: no check tells anything there.

Similarity is the weighted Jaccard index of shingles (runs of characters and of words of the normalised text): shared
weight over united weight. A shingle weighs log(1 + texts / texts that have it), so that a form that all prompts share
("What is the capital of ...?") counts little and what they ask about counts much. Pairs are found exactly, by prefix
filtering (Bayardo, Ma and Srikant 2007, "Scaling up all pairs similarity search").
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from sandwiching.tasks.records import Prompt, Text

CHARACTERS, WORDS = 5, 2
"""Length of shingles."""
MOST_SHINGLES = 3_000_000
"""Of more than so many, in all texts together, a share is kept, chosen by hash: the index is then an estimate."""
SHOWN = 3

Weights = dict[str, float]


@dataclass(frozen=True, slots=True)
class Overlap:
    """A held-out prompt and the training prompt most like it. similarity 1: equal but for case, marks and spaces."""

    held_out: Prompt
    trained: Prompt
    similarity: float


def plain_text(text: Text) -> str:
    """One string; of chat messages, what was said."""
    return text if isinstance(text, str) else "\n".join(str(message.get("content", "")) for message in text)


def normalised(text: Text) -> str:
    """Words in lower case with one space between: no marks (unless there is nothing else), no compatibility forms."""
    folded = unicodedata.normalize("NFKC", plain_text(text)).casefold()
    return " ".join(re.findall(r"\w+", folded) or folded.split())


def shingles(text: str, keep: int = 1) -> set[str]:
    """Of a normalised text: runs of CHARACTERS characters, and of WORDS words. keep: only one of so many, by hash."""
    words = text.split(" ")
    padded = f" {text} "
    found = {padded[at : at + CHARACTERS] for at in range(max(1, len(padded) - CHARACTERS + 1))}
    found |= {"\0" + " ".join(words[at : at + WORDS]) for at in range(max(1, len(words) - WORDS + 1))}
    return found if keep == 1 else {one for one in found if _number(one) % keep == 0}


def _number(shingle: str) -> int:
    return int.from_bytes(blake2b(shingle.encode(), digest_size=8).digest(), "big")


def similarity(one: Iterable[str], other: Iterable[str], weights: Mapping[str, float]) -> float:
    """Weighted Jaccard index, 0..1."""
    left, right = set(one), set(other)
    union = math.fsum(weights[name] for name in left | right)
    return math.fsum(weights[name] for name in left & right) / union if union else 0.0


def overlaps(trained: Sequence[Prompt], held_out: Sequence[Prompt], bound: float) -> list[Overlap]:
    """Each held-out prompt that is at least `bound` like a training prompt, with the one most like it.

    bound 1: only those that are equal once normalised.
    """
    texts = {"trained": [normalised(prompt.text) for prompt in trained]}
    texts["held out"] = [normalised(prompt.text) for prompt in held_out]
    equal = dict(zip(reversed(texts["trained"]), reversed(trained), strict=True))
    found = {at: Overlap(held_out[at], equal[text], 1.0) for at, text in enumerate(texts["held out"]) if text in equal}
    if bound < 1:
        for at, other, value in _near(texts["held out"], texts["trained"], bound):
            if at not in found or value > found[at].similarity:
                found[at] = Overlap(held_out[at], trained[other], value)
    return [found[at] for at in sorted(found)]


def _near(held_out: Sequence[str], trained: Sequence[str], bound: float) -> Iterable[tuple[int, int, float]]:
    """(held out, trained, similarity) of every pair that reaches the bound."""
    every = list(dict.fromkeys([*held_out, *trained]))
    keep = 1 + sum(map(len, every)) // MOST_SHINGLES
    sets = {text: shingles(text, keep) for text in every}
    count = Counter(one for found in sets.values() for one in found)
    weights = {one: math.log1p(len(every) / number) for one, number in count.items()}
    index: dict[str, list[int]] = defaultdict(list)
    for place, text in enumerate(trained):
        for one in _prefix(sets[text], weights, bound):
            index[one].append(place)
    for at, text in enumerate(held_out):
        for place in {place for one in _prefix(sets[text], weights, bound) for place in index.get(one, ())}:
            value = similarity(sets[text], sets[trained[place]], weights)
            if value >= bound:
                yield at, place, value


def _prefix(found: set[str], weights: Weights, bound: float) -> list[str]:
    """The heaviest shingles such that all others weigh less than bound x everything: what reaches the bound with
    another text shares the first, in a common order, of the shingles that they share, and it is among these."""
    ordered = sorted(found, key=lambda one: (-weights[one], one))
    rest = math.fsum(weights[one] for one in ordered)
    least, kept = bound * rest * (1 - 1e-9), []
    for one in ordered:
        if rest < least:
            break
        kept.append(one)
        rest -= weights[one]
    return kept


def refuse_overlap(trained: Sequence[Prompt], held_out: Sequence[Prompt], bound: float | None) -> None:
    """Raise ValueError for held-out prompts that are trained on, or nearly; bound None: only equal ones."""
    found = overlaps(trained, held_out, 1.0 if bound is None else bound)
    if not found:
        return
    equal = sum(one.similarity == 1.0 for one in found)
    shown = "; ".join(_shown(one) for one in sorted(found, key=lambda one: -one.similarity)[:SHOWN])
    raise ValueError(
        f"check: {len(found)} of {len(held_out)} held-out prompts are in the training split too ({equal} word for "
        f"word, the others at least {bound} alike, check.overlap): {shown}. What is trained on checks nothing: give "
        "such prompts one group (data.holdout), remove them, or, where they only look alike, raise check.overlap"
    )


def _shown(one: Overlap) -> str:
    held, trained = (json.dumps(plain_text(prompt.text)[:60]) for prompt in (one.held_out, one.trained))
    return f"{held} (group {one.held_out.group}) and {trained} (group {one.trained.group}), {one.similarity:.2f}"
