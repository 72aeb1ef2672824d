"""Groups of actors that stand for one role in the driver, and what happens when a process of one is lost.

Engines and scorers hold nothing but what they were given: a lost one is made again, and asked again for what it owed;
it gives the same. A rank of the learner holds a share of the training's state: the whole role is lost, and the stage
goes on from its newest checkpoint with new processes (ray_runner.py).
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import ray
import torch
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, NodeDiedError, ObjectLostError, RayActorError, RayError, RayTaskError
from torch import Tensor

from sandwiching.configs.schema import ResourcesConfig
from sandwiching.launch.workers import EngineActor, LearnerActor, RoleActor, ScorerActor, Spec
from sandwiching.policy.engine import Sampling
from sandwiching.policy.records import Evaluation, PPOBatch, PromptBatch, Rollouts
from sandwiching.training.artifacts import StageFolder
from sandwiching.training.distributed import is_broken_collective, is_taken_port
from sandwiching.training.roles import Scores

MOST_LOST = 5
"""Processes of one group that are replaced in a stage, and times that a stage begins again with a new learner."""
LOST = (RayActorError, GetTimeoutError, NodeDiedError, ObjectLostError)
"""What says that a process or its node ended, does not answer in time, or has left an answer that cannot be fetched."""
ANSWER_SECONDS = 10
"""What a process that is free takes at most to say that it is alive."""

log = logging.getLogger(__name__)


class LearnerLost(RuntimeError):
    """A process of the learner ended or hangs, and with it a share of the training's state."""


class Group(ABC):
    """Actors that host the same kind of role. make: a new actor for the i-th place."""

    actor: ClassVar[type[RoleActor]]

    def __init__(self, make: Callable[[int], ActorHandle], count: int, resources: ResourcesConfig) -> None:
        self.make = make
        self.actors = [make(i) for i in range(count)]
        self.resources = resources

    @abstractmethod
    def host(self, spec: Spec, extra: float = 0.0) -> None:
        """All actors build the role, within resources.start_timeout and `extra` seconds."""


class StatelessGroup(Group):
    """Actors of which each can be replaced alone. Several threads may ask at once."""

    spec: Spec
    extra: float
    replaced: int

    def __init__(self, make: Callable[[int], ActorHandle], count: int, resources: ResourcesConfig) -> None:
        super().__init__(make, count, resources)
        self.lock = threading.Lock()

    def host(self, spec: Spec, extra: float = 0.0) -> None:
        """See Group; a lost actor is replaced here already."""
        self.spec, self.extra, self.replaced = spec, extra, 0
        actors = list(self.actors)
        calls = [actor.host.remote(spec) for actor in actors]
        for place, (actor, call) in enumerate(zip(actors, calls, strict=True)):
            try:
                ray.get(call, timeout=self.resources.start_timeout + extra)
            except LOST as error:
                self._replacement(place, actor, error)

    def ask(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """A call on each of the first actors, side by side; within resources.call_timeout each."""
        actors = self.actors[: len(arguments)]
        calls = [actor.call.remote(method, *given) for actor, given in zip(actors, arguments, strict=False)]
        asked = zip(actors, calls, arguments, strict=False)
        return [self._answer(i, actor, call, method, given) for i, (actor, call, given) in enumerate(asked)]

    def all(self, method: str, *arguments: Any) -> list[Any]:
        """The same call on every actor."""
        return self.ask(method, [arguments] * len(self.actors))

    def prepare(self, actor: ActorHandle) -> None:
        """Give a new actor, whose role is built, what the others have been given since."""

    def _answer(self, place: int, actor: ActorHandle, call: Any, method: str, given: tuple[Any, ...]) -> Any:
        while True:
            try:
                return ray.get(call, timeout=self.resources.call_timeout)
            except LOST as error:
                actor = self._replacement(place, actor, error)
                call = actor.call.remote(method, *given)

    def _replacement(self, place: int, lost: ActorHandle, error: RayError) -> ActorHandle:
        """Another actor in the place of `lost`: a new one, unless another thread has made it meanwhile."""
        with self.lock:
            while self.actors[place] is lost:
                self.replaced += 1
                if self.replaced > MOST_LOST:
                    raise error
                log.warning("%s %d is lost and replaced: %s", self.actor.__name__, place, error)
                ray.kill(lost)  # it may only hang
                actor = self.actors[place] = self.make(place)
                try:
                    ray.get(actor.host.remote(self.spec), timeout=self.resources.start_timeout + self.extra)
                    self.prepare(actor)
                except LOST as failure:
                    lost, error = actor, failure
            return self.actors[place]


class EngineGroup(StatelessGroup):
    """Data-parallel engines; looks like one RolloutEngine."""

    actor = EngineActor
    version = 0
    elsewhere = True

    def __init__(self, make: Callable[[int], ActorHandle], count: int, resources: ResourcesConfig) -> None:
        super().__init__(make, count, resources)
        self.given: dict[str, tuple[Any, int]] = {}

    def host(self, spec: Spec, extra: float = 0.0) -> None:
        """See Group; the version is 0 again."""
        self.version, self.given = 0, {}
        super().host(spec, extra)

    def prepare(self, actor: ActorHandle) -> None:
        """The newest folder, then the newest weights."""
        for method, given in self.given.items():
            ray.get(actor.call.remote(method, *given), timeout=self.resources.start_timeout + self.extra)

    def load_weights(self, weights: Mapping[str, Tensor], version: int) -> None:
        """Push new weights to every engine."""
        self._give("load_weights", ray.put(dict(weights)), version)

    def load(self, folder: Path, version: int) -> None:
        """Load a model folder in every engine."""
        self.given = {}
        self._give("load", folder, version)

    def generate(self, prompts: PromptBatch, sampling: Sampling, seed: int, step: int) -> Rollouts:
        """Each engine samples for a share of the rows."""
        shares = [(part[0], part[-1] + 1) for part in _shares(len(prompts), len(self.actors))]
        rows = [(prompts.rows(start, stop), sampling, seed, step) for start, stop in shares]
        return Rollouts.together(self.ask("generate", rows))

    def logprobs(
        self, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], temperature: float
    ) -> Tensor:
        """Summed response log-probs [B]."""
        shares = _shares(len(prompts), len(self.actors))
        rows = [([prompts[i] for i in part], [responses[i] for i in part], temperature) for part in shares]
        return torch.cat(self.ask("logprobs", rows))

    def restarts(self) -> int:
        """Of all engines: processes of theirs, and they themselves."""
        return sum(self.all("restarts")) + self.replaced

    def layer_states(self, tokens: Sequence[int]) -> Tensor:
        """Of the first engine."""
        (states,) = self.ask("layer_states", [(list(tokens),)])
        return states

    def close(self) -> None:
        """The actors stay, and host other roles."""
        self.all("close")

    def _give(self, method: str, content: Any, version: int) -> None:
        self.all(method, content, version)
        self.given[method] = content, version
        self.version = version


class ScorerGroup(StatelessGroup):
    """Data-parallel scorers."""

    actor = ScorerActor

    def score(self, rollouts: Rollouts) -> Scores:
        """Each scorer takes a share of the rows."""
        shares = _shares(len(rollouts), len(self.actors))
        return Scores.join(self.ask("score", [(rollouts.select(torch.tensor(rows)),) for rows in shares]))


class LearnerGroup(Group):
    """The ranks of one learner; every call is made on all of them, and raises LearnerLost when one is lost."""

    actor = LearnerActor

    def host(self, spec: Spec, extra: float = 0.0) -> None:
        """See Group."""
        self._answers([actor.host.remote(spec) for actor in self.actors], self.resources.start_timeout + extra)

    def meet(self) -> None:
        """Give every actor its rank, before the first role is hosted."""
        ((address, port),) = self._answers([self.actors[0].address.remote()], self.resources.start_timeout)
        ranks, numbered = len(self.actors), enumerate(self.actors)
        joining = [actor.join.remote(rank, ranks, address, port) for rank, actor in numbered]
        self._answers(joining, self.resources.start_timeout)

    def all(self, method: str, *arguments: Any) -> list[Any]:
        """The same call on every rank, within resources.call_timeout."""
        return self._answers([actor.call.remote(method, *arguments) for actor in self.actors])

    def evaluate(self, rollouts: Rollouts, step: int) -> Evaluation:
        """Each rank evaluates the rows that it will train on first."""
        return Evaluation.join(self.all("evaluate", ray.put(rollouts), step))

    def update(self, batch: PPOBatch, step: int) -> dict[str, float]:
        """Statistics are the same on every rank."""
        return self.all("update", ray.put(batch), step)[0]

    def weights(self) -> Mapping[str, Tensor]:
        """From rank 0; all ranks take part (ZeRO-3 gathers)."""
        return self._answers([actor.weights.remote() for actor in self.actors])[0]

    def layer_states(self, tokens: Sequence[int]) -> Tensor:
        """From rank 0; all ranks take part (ZeRO-3 gathers)."""
        return self.all("layer_states", list(tokens))[0]

    def peak_flops(self) -> float:
        """All ranks at once, as they train."""
        return sum(self.all("peak_flops"))

    def save(self, directory: Path) -> None:
        """Every rank writes its part."""
        self.all("save", directory)

    def writing(self) -> bool:
        """Any rank."""
        return any(self.all("writing"))

    def flush(self) -> None:
        """Every rank."""
        self.all("flush")

    def load(self, directory: Path) -> None:
        """Every rank reads its part."""
        self.all("load", directory)

    def snapshot(self, directory: Path) -> None:
        """Rank 0 writes."""
        self.all("snapshot", directory)

    def export(self, folder: StageFolder) -> None:
        """Rank 0 writes."""
        self.all("export", folder)

    def _answers(self, calls: Sequence[Any], timeout: float | None = None) -> list[Any]:
        try:
            return ray.get(list(calls), timeout=self.resources.call_timeout if timeout is None else timeout)
        except RayError as error:
            # Where one rank is killed or hangs, another may be the first to complain, of a broken connection.
            if isinstance(error, LOST) or self._lacks_a_rank(error):
                raise LearnerLost(f"a process of the learner is lost: {error}") from error
            raise

    def _lacks_a_rank(self, error: RayError) -> bool:
        """After `error` of a rank: whether another is gone, or hangs where a collective of this one failed."""
        cause = error.cause if isinstance(error, RayTaskError) else error
        if is_taken_port(cause):
            return True  # They never met, and new processes will have another port.
        calls: list[Any] = [actor.alive.remote() for actor in self.actors]
        answered, silent = ray.wait(calls, num_returns=len(calls), timeout=ANSWER_SECONDS)
        return any(map(_is_gone, answered)) or bool(silent and is_broken_collective(cause))


def _is_gone(answer: Any) -> bool:
    try:
        ray.get(answer, timeout=ANSWER_SECONDS)
    except LOST:
        return True
    return False


def _shares(rows: int, parts: int) -> list[list[int]]:
    return [part.tolist() for part in torch.arange(rows).chunk(parts)]
