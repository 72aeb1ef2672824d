"""Groups of actors that stand for one role in the driver, and what happens when a process of one is lost.

Engines and scorers hold nothing but what they were given: a lost one is made again, and asked again for what it owed;
it gives the same. Ranks of a learner hold the training's state: learner_group.py.
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
from ray.exceptions import GetTimeoutError, NodeDiedError, ObjectLostError, RayActorError, RayError
from torch import Tensor

from sandwiching.configs.schema import ResourcesConfig
from sandwiching.launch.failures import NotInTime
from sandwiching.launch.workers import EngineActor, RoleActor, ScorerActor, Spec
from sandwiching.policy.engine import Sampling
from sandwiching.policy.records import PromptBatch, Rollouts
from sandwiching.training.artifacts import StageFolder
from sandwiching.training.roles import Scores

MOST_LOST = 5
"""Processes of one group that are replaced in a stage, and times that a stage begins again with a new learner."""
LOST = (RayActorError, GetTimeoutError, NodeDiedError, ObjectLostError)
"""What says that a process or its node ended, does not answer in time, or has left an answer that cannot be fetched."""
log = logging.getLogger(__name__)


class Group(ABC):
    """Actors that host the same kind of role. make: a new actor for the i-th place."""

    actor: ClassVar[type[RoleActor]]

    def __init__(self, make: Callable[[int], ActorHandle], count: int, resources: ResourcesConfig) -> None:
        self.make = make
        self.actors = [make(i) for i in range(count)]
        self.resources = resources

    @abstractmethod
    def host(self, spec: Spec, folder: StageFolder | None, extra: float = 0.0) -> None:
        """All actors build the role, whose long calls end when the folder asks to stop.

        A process that does not start within resources.start_timeout counts as lost: its node may be. Raises NotInTime
        when one that has started needs more than resources.load_timeout and `extra` seconds.
        """

    def end(self) -> None:
        """End the actors."""
        for actor in self.actors:
            ray.kill(actor)

    def loaded(self, call: Any, extra: float) -> Any:
        """What a call gives in which models are loaded. Raises NotInTime."""
        seconds = self.resources.load_timeout + extra
        try:
            return ray.get(call, timeout=seconds)
        except GetTimeoutError as error:
            raise NotInTime(
                f"a process of {self.actor.__name__} did not load its models within {seconds:g} s: "
                "raise resources.load_timeout if they are large or their disk is slow, "
                "or look in Ray's logs for what it hangs in"
            ) from error


class StatelessGroup(Group):
    """Actors of which each can be replaced alone. Several threads may ask at once."""

    spec: Spec
    folder: StageFolder | None
    extra: float
    replaced: int
    ended = False

    def __init__(self, make: Callable[[int], ActorHandle], count: int, resources: ResourcesConfig) -> None:
        super().__init__(make, count, resources)
        self.lock = threading.Lock()

    def host(self, spec: Spec, folder: StageFolder | None, extra: float = 0.0) -> None:
        """See Group; a lost actor is replaced here already."""
        self.spec, self.folder, self.extra, self.replaced = spec, folder, extra, 0
        actors = list(self.actors)
        starts = [actor.alive.remote() for actor in actors]
        calls = [actor.host.remote(spec, folder) for actor in actors]
        for place, (actor, start, call) in enumerate(zip(actors, starts, calls, strict=True)):
            try:
                ray.get(start, timeout=self.resources.start_timeout)
                self.loaded(call, extra)
            except LOST as error:
                self._replacement(place, actor, error)

    def end(self) -> None:
        """See Group; a thread that still waits for an answer replaces none of them."""
        self.ended = True
        super().end()

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
                if self.ended or self.replaced > MOST_LOST:
                    raise error
                log.warning("%s %d is lost and replaced: %s", self.actor.__name__, place, error)
                ray.kill(lost)  # it may only hang
                actor = self.actors[place] = self.make(place)
                try:
                    ray.get(actor.alive.remote(), timeout=self.resources.start_timeout)
                    self.loaded(actor.host.remote(self.spec, self.folder), self.extra)
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

    def host(self, spec: Spec, folder: StageFolder | None, extra: float = 0.0) -> None:
        """See Group; the version is 0 again."""
        self.version, self.given = 0, {}
        super().host(spec, folder, extra)

    def prepare(self, actor: ActorHandle) -> None:
        """The newest folder, then the newest weights."""
        for method, given in self.given.items():
            self.loaded(actor.call.remote(method, *given), self.extra)

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

    def divergence(
        self,
        reference: Path,
        prompts: Sequence[Sequence[int]],
        responses: Sequence[Sequence[int]],
        temperature: float,
    ) -> Tensor:
        """KL of each response's tokens [B]."""
        shares = _shares(len(prompts), len(self.actors))
        rows = [(reference, [prompts[i] for i in part], [responses[i] for i in part], temperature) for part in shares]
        return torch.cat(self.ask("divergence", rows))

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


def _shares(rows: int, parts: int) -> list[list[int]]:
    return [part.tolist() for part in torch.arange(rows).chunk(parts)]
