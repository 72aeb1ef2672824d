"""What a task hands out: prompts, demonstrations, pairs, judgements; and the Protocols of tasks and raters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Message = dict[str, str]
Text = str | tuple[Message, ...]
Split = Literal["train", "dev", "final"]
Tier = Literal["weak", "expert"]
Preference = Literal["a", "b", "tie"]
SPLITS: tuple[Split, ...] = ("train", "dev", "final")
TIERS: tuple[Tier, ...] = ("weak", "expert")


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question. `group` is what is held out together; `kind` is what results are broken down by."""

    id: str
    text: Text
    group: str
    kind: str


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A response that a person wrote to a training prompt."""

    prompt: Prompt
    response: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Two responses to one prompt, to be compared."""

    id: str
    prompt: Prompt
    response_a: str
    response_b: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """One rater's verdict on two responses to one prompt; the columns of DESIGN section 4."""

    prompt: Text
    response_a: str
    response_b: str
    preference: Preference
    rater: str
    tier: Tier
    confidence: float | None = None
    seconds: float | None = None
    group: str | None = None
    pair: str | None = None
    score_a: float | None = None
    score_b: float | None = None
    shown: str | None = None
    assistance: str | None = None


class Rater(Protocol):
    """Somebody who compares: a person, a simulated person or a model."""

    id: str
    tier: Tier

    def judge(self, pair: Pair, assistance: str | None = None) -> Judgement:
        """The verdict; a pure function of (rater, pair, assistance)."""
        ...


class Gold(Protocol):
    """A computable ground truth; only oversight holds one."""

    def correct(self, prompt: Prompt, response: str) -> bool:
        """Whether the response answers the prompt correctly."""
        ...

    def candidates(self, prompt: Prompt) -> tuple[str, ...]:
        """The right answer first, then wrong ones of equal format."""
        ...


class Task(Protocol):
    """Prompts by split, demonstrations, and the weak panels. Expert raters and gold live in <name>_gold.py."""

    def prompts(self, split: Split) -> list[Prompt]:
        """Prompts of a split, in a fixed order."""
        ...

    def demonstrations(self) -> list[Demonstration]:
        """Demonstrations for the training prompts."""
        ...

    def weak_raters(self, panel: Literal["training", "check"]) -> Sequence[Rater]:
        """The weak panel; those of "check" label nothing in training."""
        ...
