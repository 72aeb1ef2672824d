"""Rollouts of each PPO step and their scores: made when they are asked for, or while the step before trains."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict, dataclass, fields
from functools import cache, partial
from typing import Any

from sandwiching.policy.background import at_once, background
from sandwiching.policy.engine import RolloutEngine, Sampling
from sandwiching.policy.records import PromptBatch, Rollouts
from sandwiching.training.prompts import PromptQueue
from sandwiching.training.roles import Scorer, Scores
from sandwiching.training.spans import Spans


@dataclass(frozen=True, slots=True)
class Made:
    """Rollouts, the version of the weights that sampled them, and what gives the scores of each part of them.

    scored: nothing is left to be done for the scores.
    """

    rollouts: Rollouts
    version: int
    parts: tuple[Callable[[], Scores], ...]
    scored: bool = False

    @property
    def scores(self) -> Scores:
        """Waits for those that are not done, or makes them."""
        return Scores.join([part() for part in self.parts])

    @classmethod
    def whole(cls, rollouts: Rollouts, version: int, scores: Scores) -> Made:
        """Rollouts with their scores."""
        return cls(rollouts, version, (lambda: scores,), scored=True)


class RolloutQueue:
    """An engine, a scorer and the prompts they work on: `count` prompts a step, `samples` responses each.

    part: rows sampled at a time; where roles are `apart`, a part is scored while the next is sampled. Only what works
    in other processes works in the background: torch's global settings, and its end, know one thread. What was made
    ahead is in a checkpoint, which is written when nothing is under way.
    """

    def __init__(
        self,
        engine: RolloutEngine,
        scorer: Scorer,
        prompts: PromptQueue,
        sampling: Sampling,
        spans: Spans,
        *,
        seed: int,
        count: int,
        samples: int,
        part: int,
        apart: bool,
    ) -> None:
        self.engine = engine
        self.scorer = scorer
        self.prompts = prompts
        self.sampling = sampling
        self.spans = spans
        self.seed = seed
        self.count = count
        self.samples = samples
        self.part = part if apart else count * samples
        self.apart = apart
        self.ahead: Future[Made] | None = None

    def take(self, step: int) -> Made:
        """The rollouts of `step`, for the prompts at the frontier; it moves behind them when the step has trained."""
        ahead, self.ahead = self.ahead, None
        return self._make(self.prompts.at(0, self.count, self.samples), step) if ahead is None else ahead.result()

    def give_back(self, made: Made) -> None:
        """What `take` gave was not trained on. It is the next to be taken, or made again where that is possible and
        its scores are not there."""
        self.wait()
        kept = made.scored or made.version != self.engine.version
        self.ahead = at_once(lambda: made) if kept else None

    def start(self, step: int) -> None:
        """Begin with the rollouts of the step after the one that trains."""
        prompts = self.prompts.at(self.count, self.count, self.samples)
        begin = background if self.engine.elsewhere else at_once
        self.ahead = begin(lambda: self._make(prompts, step))

    def wait(self) -> None:
        """Until the engine is free for new weights."""
        if self.ahead is not None:
            self.ahead.result()

    def state_dict(self) -> dict[str, Any]:
        """What was made ahead, if anything was."""
        if self.ahead is None:
            return {}
        made = self.ahead.result()
        values = {field.name: getattr(made.rollouts, field.name) for field in fields(made.rollouts)}
        return {"version": made.version, "rollouts": values, "scores": asdict(made.scores)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Back to what `state_dict` gave."""
        self.ahead = None
        if state:
            made = Made.whole(Rollouts(**state["rollouts"]), state["version"], Scores(**state["scores"]))
            self.ahead = at_once(lambda: made)

    def _make(self, prompts: PromptBatch, step: int) -> Made:
        version, parts, scores = self.engine.version, list[Rollouts](), list[Callable[[], Scores]]()
        for start in range(0, len(prompts), self.part):
            rows = prompts.rows(start, start + self.part)
            with self.spans.span("engine", "generate"):
                rollouts = self.engine.generate(rows, self.sampling, self.seed, step)
            parts.append(rollouts)
            score = partial(self._score, rollouts)
            scores.append(background(score).result if self.apart else cache(score))
        return Made(Rollouts.together(parts), version, tuple(scores))

    def _score(self, rollouts: Rollouts) -> Scores:
        with self.spans.span("scorer", "score"):
            return self.scorer.score(rollouts)
