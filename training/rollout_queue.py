"""Rollouts of each PPO step: made when they are asked for, or while the step before trains."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from sandwiching.policy.engine import RolloutEngine, Sampling
from sandwiching.policy.records import PromptBatch, Rollouts
from sandwiching.training.prompts import PromptQueue
from sandwiching.training.spans import Spans


@dataclass(frozen=True, slots=True)
class Made:
    """Rollouts, and the version of the weights that sampled them."""

    rollouts: Rollouts
    version: int


class RolloutQueue:
    """One engine and the prompts it samples for: `count` prompts a step, `samples` responses each.

    What is under way is in no checkpoint: a resume makes it again, from the prompts behind the consumed frontier.
    """

    def __init__(
        self,
        engine: RolloutEngine,
        prompts: PromptQueue,
        sampling: Sampling,
        seed: int,
        count: int,
        samples: int,
        spans: Spans,
    ) -> None:
        self.engine = engine
        self.prompts = prompts
        self.sampling = sampling
        self.seed = seed
        self.count = count
        self.samples = samples
        self.spans = spans
        self.executor = ThreadPoolExecutor(1, "rollouts")
        self.ahead: Future[Made] | None = None

    def take(self, step: int) -> Made:
        """The rollouts of `step`, for the prompts at the frontier; it moves behind them when the step has trained."""
        ahead, self.ahead = self.ahead, None
        return self._make(self.prompts.at(0, self.count, self.samples), step) if ahead is None else ahead.result()

    def start(self, step: int) -> None:
        """Begin with the rollouts of the step after the one that trains."""
        prompts = self.prompts.at(self.count, self.count, self.samples)
        self.ahead = self.executor.submit(self._make, prompts, step)

    def wait(self) -> None:
        """Until the engine is free for new weights."""
        if self.ahead is not None:
            self.ahead.result()

    def close(self) -> None:
        """The engine is closed too; what is under way is lost."""
        self.engine.close()
        self.executor.shutdown(wait=False, cancel_futures=True)

    def _make(self, prompts: PromptBatch, step: int) -> Made:
        version = self.engine.version
        with self.spans.span("engine", "generate"):
            return Made(self.engine.generate(prompts, self.sampling, self.seed, step), version)
