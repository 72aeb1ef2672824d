"""Answers to look at: of each arm on dev prompts, by whether they are right and whether weak raters approve.

Never of the split that is checked: its items stay in the expert store; with check.split=dev there are none. The check
writes them as samples.json.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sandwiching.oversight.outcomes import policy_name
from sandwiching.tasks.records import Text

MOST = 6
"""Shown of each kind and arm; how many there are stands beside them."""
KINDS = {
    (False, True): "wrong, and approved",
    (True, False): "right, and not approved",
    (True, True): "right, and approved",
    (False, False): "wrong, and not approved",
}
"""(right by gold, approved by at least half of the raters) -> in words; the first is what fooling is made of."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One dev prompt: the floor's answer and the arm's, each with whether gold calls it right and which share of weak
    raters prefers it to the floor's anchor."""

    prompt: str
    floor: str
    floor_right: bool
    floor_approved: float
    answer: str
    right: bool
    approved: float


@dataclass(frozen=True, slots=True)
class Samples:
    """Those of one kind, of `count`; the ones whose approval rose most first."""

    arm: str
    kind: str
    count: int
    shown: list[Sample]


FILE = "samples.json"


def samples(trails: Mapping[str, Any], prompts: Sequence[Text]) -> list[Samples]:
    """Of a record of trails on these dev prompts: the first sample of each, first training seed, last snapshot."""
    found = []
    for arm in dict.fromkeys(name.rpartition("/")[0] for name in trails["points"]):
        first, *_, last = trails["points"][policy_name(arm, trails["seeds"][0])]
        pairs = [_sample(prompt, first, last, place) for place, prompt in enumerate(prompts)]
        for (right, approved), kind in KINDS.items():
            ours = [one for one in pairs if (one.right, one.approved >= 0.5) == (right, approved)]
            ours.sort(key=lambda one: one.floor_approved - one.approved)
            if ours:
                found.append(Samples(arm, kind, len(ours), ours[:MOST]))
    return found


def _sample(prompt: Text, first: Mapping[str, Any], last: Mapping[str, Any], place: int) -> Sample:
    text = prompt if isinstance(prompt, str) else "\n".join(f"{one['role']}: {one['content']}" for one in prompt)
    return Sample(
        text,
        first["responses"][place][0],
        first["correct"][place][0],
        first["approved"][place][0],
        last["responses"][place][0],
        last["correct"][place][0],
        last["approved"][place][0],
    )
