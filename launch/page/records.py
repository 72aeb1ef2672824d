"""What passes between the page's database and what is shown of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sandwiching.tasks.records import Preference, Text, Tier

Choice = Literal["first", "second", "tie"]
"""What a rater says: of what stood first and second on the page."""

CONFIDENCE = {"guess": 0.25, "leaning": 0.5, "fairly": 0.75, "certain": 1.0}
"""What raters may say of how sure they are, as the column `confidence`; 0 would take a judgement out of the loss."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How labels are spent, those of weak and of expert raters apart; gold questions are left out. None: no bound.

    gold_rate: share of the pairs handed out that are gold questions, while a rater has some left.
    hold: seconds after which a pair that was handed out and not judged counts as nobody's.
    """

    labels_per_pair: int = 3
    budget: int | None = None
    expert_labels_per_pair: int = 1
    expert_budget: int | None = None
    per_rater: int | None = None
    gold_rate: float = 0.0
    hold: float = 1800.0

    def __post_init__(self) -> None:
        """Raises ValueError naming the option."""
        for name, value in (
            ("labels-per-pair", self.labels_per_pair),
            ("budget", self.budget),
            ("expert-labels-per-pair", self.expert_labels_per_pair),
            ("expert-budget", self.expert_budget),
            ("per-rater", self.per_rater),
        ):
            if value is not None and value < 1:
                raise ValueError(f"--{name}: must be at least 1, is {value}")
        if not 0 <= self.gold_rate < 1:
            raise ValueError(f"--gold-rate: must lie in 0..1, 1 excluded, is {self.gold_rate:g}")
        if self.hold <= 0:
            raise ValueError(f"--hold: must be positive, is {self.hold:g}")

    def of(self, tier: Tier) -> tuple[int, int | None]:
        """Labels a pair, and in all, from raters of a tier."""
        if tier == "weak":
            return self.labels_per_pair, self.budget
        return self.expert_labels_per_pair, self.expert_budget


@dataclass(frozen=True, slots=True)
class RaterRow:
    """A rater as the page knows them. id: of the row; rater: the hashed id."""

    id: int
    rater: str
    tier: Tier
    judged: int
    turns: int


@dataclass(frozen=True, slots=True)
class Earlier:
    """What a rater said before undoing it, to begin from."""

    choice: Choice | None
    confidence: str | None
    why: str


@dataclass(frozen=True, slots=True)
class Question:
    """A pair as one rater sees it. key and attempt name it in forms; source and references are empty for the weak."""

    key: str
    attempt: int
    prompt: Text
    first: str
    second: str
    source: str | None
    references: tuple[str, ...]
    earlier: Earlier | None


@dataclass(frozen=True, slots=True)
class Undoable:
    """The last verdict or skip of a rater."""

    key: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Screen:
    """All that a rater's page shows. question: None when nothing is left for them.

    judged: their verdicts; wanted: the most they may give, where that is bounded; labels: of all raters of the tier,
    of about `of`.
    """

    tier: Tier
    question: Question | None
    undoable: Undoable | None
    judged: int
    wanted: int | None
    labels: int
    of: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a form says of a question. seconds: the page in sight, by the browser; None without scripts."""

    choice: Choice
    confidence: float
    seconds: float | None
    why: str | None

    def preference(self, shown: str) -> Preference:
        """In terms of response_a and response_b."""
        if self.choice == "tie":
            return "tie"
        return "a" if (self.choice == "first") == (shown == "ab") else "b"
