"""Rollouts of each PPO step: made when they are asked for, or while the step before trains."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass, fields
from typing import Any

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

    What was made ahead is part of a checkpoint, which is written when nothing is under way.
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
        self.ahead: Future[Made] | None = None

    def take(self, step: int) -> Made:
        """The rollouts of `step`, for the prompts at the frontier; it moves behind them when the step has trained."""
        ahead, self.ahead = self.ahead, None
        return self._make(self.prompts.at(0, self.count, self.samples), step) if ahead is None else ahead.result()

    def start(self, step: int) -> None:
        """Begin with the rollouts of the step after the one that trains."""
        prompts = self.prompts.at(self.count, self.count, self.samples)
        self.ahead = ahead = Future[Made]()

        def make() -> None:
            try:
                ahead.set_result(self._make(prompts, step))
            except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
                ahead.set_exception(error)

        # A daemon: a run that fails meanwhile must not wait for it.
        threading.Thread(target=make, name="rollouts", daemon=True).start()

    def wait(self) -> None:
        """Until the engine is free for new weights."""
        if self.ahead is not None:
            self.ahead.result()

    def state_dict(self) -> dict[str, Any]:
        """The rollouts made ahead, if there are any."""
        if self.ahead is None:
            return {}
        made = self.ahead.result()
        values = {field.name: getattr(made.rollouts, field.name) for field in fields(made.rollouts)}
        return {"version": made.version, "rollouts": values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Back to what `state_dict` gave."""
        self.ahead = None
        if state:
            self.ahead = Future[Made]()
            self.ahead.set_result(Made(Rollouts(**state["rollouts"]), state["version"]))

    def _make(self, prompts: PromptBatch, step: int) -> Made:
        version = self.engine.version
        with self.spans.span("engine", "generate"):
            return Made(self.engine.generate(prompts, self.sampling, self.seed, step), version)
