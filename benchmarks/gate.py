"""What the weak-signal gate says of real judgements: as they are, shuffled within each rater, rated by everybody for
themselves, and with ratings of some pairs copied from one rater to all.

    python benchmarks/gate.py llm_answers.jsonl.gz convincing_arguments.jsonl.gz

Files without ratings get some that go with the preference: the better text 3 to 7, the other 1 to 5, both the same in
a tie. Copied: of every tenth pair all raters give the ratings of the first.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sandwiching.oversight.rater_report import as_json, report_on
from sandwiching.tasks.readers import read_judgements
from sandwiching.tasks.records import Judgement

COPIED = 10
"""One pair in so many."""


def as_they_are(rows: Sequence[Judgement], _: random.Random) -> list[Judgement]:
    """The file."""
    return list(rows)


def shuffled(rows: Sequence[Judgement], draw: random.Random) -> list[Judgement]:
    """Every rater keeps their pairs and how often they said what."""
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault(row.rater, []).append(place)
    result = list(rows)
    for own in places.values():
        labels = [rows[place].preference for place in own]
        draw.shuffle(labels)
        for place, label in zip(own, labels, strict=True):
            result[place] = replace(rows[place], preference=label)
    return result


def rated(rows: Sequence[Judgement], draw: random.Random) -> list[Judgement]:
    """Everybody rates for themselves."""
    result = []
    for row in rows:
        better, worse = draw.randint(3, 7), draw.randint(1, 5)
        scores = {"a": (better, worse), "b": (worse, better), "tie": (better, better)}[row.preference]
        result.append(replace(row, score_a=scores[0], score_b=scores[1]))
    return result


def copied(rows: Sequence[Judgement], draw: random.Random) -> list[Judgement]:
    """Some pairs have the first rater's ratings from all, text by text."""
    result = rated(rows, draw)
    said: dict[tuple[str, ...], dict[str, float | None]] = {}
    for row in result:
        said.setdefault(texts(row), {row.response_a: row.score_a, row.response_b: row.score_b})
    shared = set(list(said)[::COPIED])
    for place, row in enumerate(result):
        if (key := texts(row)) in shared:
            result[place] = replace(row, score_a=said[key][row.response_a], score_b=said[key][row.response_b])
    return result


def texts(row: Judgement) -> tuple[str, ...]:
    """What a pair is known by."""
    return (str(row.prompt), *sorted((row.response_a, row.response_b)))


VERSIONS: dict[str, Callable[[Sequence[Judgement], random.Random], list[Judgement]]] = {
    "as it is": as_they_are,
    "labels shuffled within rater": shuffled,
    "rated": rated,
    "ratings copied": copied,
}


def main() -> None:
    """A line a file and version."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--permutations", type=int, default=199)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print("| file | version | verdict | split-half | alpha | permutation p | pairs rated alike by all |")
    print("|---|---|---|---|---|---|---|")
    for file in given.files:
        weak = [row.judgement for row in read_judgements(file) if row.judgement.tier == "weak"]
        for name, change in VERSIONS.items():
            rows = change(weak, random.Random(given.seed))
            found = report_on(rows, permutations=given.permutations, max_p=0.01, seed=given.seed, confidence=0.95)
            print(f"| {file.name} | {name} | {line(as_json(found)['gate'])} |", flush=True)


def line(gate: dict[str, Any]) -> str:
    """Verdict and its numbers; - where there are none."""
    half = gate["split_half"]
    agreement = "-" if half is None else f"{half['agreement']:.3f} [{half['low']:.3f}, {half['high']:.3f}]"
    same = gate["copied_pairs"]
    identical = "-" if same is None else f"{same['identical']:.3f} (expected {same['expected']:.3f})"
    numbers = ("-" if gate[name] is None else f"{gate[name]:.3g}" for name in ("alpha", "permutation_p"))
    return " | ".join([gate["verdict"], agreement, *numbers, identical])


if __name__ == "__main__":
    main()
