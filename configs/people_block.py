"""Blocks about raters: kinds of simulated people, and language models that judge. Never imports torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING

from sandwiching.configs.errors import ConfigError
from sandwiching.configs.keyed import HOW


@dataclass(kw_only=True)
class PeopleKind:
    """One kind of simulated people in a population. null: as the task says of everybody, else no such habit.

    All biases are log-odds of one logit (docs/people.md).
    """

    share: float = MISSING
    """Share of the panel."""
    rule: str = "logit"
    """logit: by the habits below. Else always longer, first or random; contrary: the opposite of what they find."""
    competence: float | None = None
    """Probability of knowing the answer; in a file, of choosing the better response when nothing else differs."""
    topics: dict[str, float] = field(default_factory=dict)
    """Competence by topic (the prompt's kind in capitals, its group in a file) where it is another one."""
    ability_spread: float | None = None
    """Standard deviation between people: of the log-odds of knowing; in a file, of a lapse (its mean stays)."""
    misconception: float | None = None
    """Probability that who does not know takes the more familiar name for right (capitals)."""
    myths: list[str] = field(default_factory=list)
    """Phrases that these people believe wrongly."""
    myth_bias: float = 0.0
    """Log-odds that a response with a myth gains over one without."""
    length_bias: float | None = None
    """Log-odds that a word more gains."""
    doubling_bias: float = 0.0
    """Log-odds that a response of twice as many words gains."""
    confidence_bias: float | None = None
    """Log-odds that confident wording gains, and hedged wording loses."""
    position_bias: float = 0.0
    """Log-odds that the response shown first (response_a) gains."""
    sycophancy: float = 0.0
    """Log-odds that a response gains by agreeing with the rater: it states what the rater would answer, or a belief."""
    beliefs: list[str] = field(default_factory=list)
    """Phrases that these people hold to be true; see sycophancy."""
    source_access: float = 0.0
    """Probability of looking the answer up in the source; 0: the rater has no access to it."""
    appeal: float = 0.0
    """Standard deviation of what speaks for either response of a pair in everybody's eyes, in log-odds."""
    tie_band: float = 0.0
    """Log-odds within which two responses look equally good (Rao and Kupper, 1967)."""
    lapse: float | None = None
    """Probability of a random click."""


@dataclass(kw_only=True)
class PeopleFiles:
    """Files of people's judgements by tier (judgements.raters=people). Their content is in the key, their paths not.

    `{round}` and `{seed}` in a path stand for these numbers: each round, and each seed, has other pairs.
    """

    weak: str | None = None
    """Judgements by weak people."""
    expert: str | None = None
    """Judgements by experts."""

    def path(self, tier: str, seed: int, turn: int) -> str:
        """The file of one stage. Raises ConfigError where none is named."""
        named = self.weak if tier == "weak" else self.expert
        if named is None:
            remedy = "name the file that they will lie in, as weak-{round}.jsonl; the run waits for it"
            raise ConfigError.at(f"judgements.people.{tier}", "is not set, but an arm learns from these people", remedy)
        return named.replace("{round}", str(turn)).replace("{seed}", str(seed))


@dataclass(kw_only=True)
class ModelRaterConfig:
    """A language model that judges: a local one (path), or one behind an OpenAI-compatible URL (url and name)."""

    path: str | None = field(default=None, metadata=HOW)
    """A folder, a Hugging Face hub id, or a name from policy/base_models.py; its content is in the key."""
    revision: str | None = field(default=None, metadata=HOW)
    """Hub commit."""
    url: str | None = None
    """Base of the API, as http://127.0.0.1:8000/v1."""
    name: str | None = None
    """The model's name there."""
    answer: str = "choice"
    """choice: log-probs of the answers A and B (local models only); text: a written answer is read."""
    disagreement: str = "average"
    """When the two orders disagree: average their probabilities, or call it a tie."""
    temperature: float = 0.0
    """Of written answers behind a URL; a local model writes its most probable answer."""
    max_new_tokens: int = 64
    """Longest written answer, or critique."""
    most_unread: float = field(default=0.1, metadata=HOW)
    """Share of written answers without a verdict (each counts as even) above which the stage fails."""
    concurrency: int = field(default=8, metadata=HOW)
    """Requests under way at once."""
    retries: int = field(default=5, metadata=HOW)
    """Times that a request is sent again after status 408, 409, 429 or 5xx, a timeout or a lost connection."""
    timeout: float = field(default=60.0, metadata=HOW)
    """Seconds for one request."""
    backoff: float = field(default=1.0, metadata=HOW)
    """Seconds before the first retry; doubled before each further one, unless the server says how long."""
    cache: str | None = field(default=None, metadata=HOW)
    """Folder of answers by content, shared by runs; null: the stage's own."""
    key_variable: str = field(default="OPENAI_API_KEY", metadata=HOW)
    """Environment variable that holds the API key; unset: none is sent."""
    price_in: float = field(default=0.0, metadata=HOW)
    """Money for a million tokens read."""
    price_out: float = field(default=0.0, metadata=HOW)
    """Money for a million tokens written."""
