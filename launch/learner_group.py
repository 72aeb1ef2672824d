"""The ranks of a learner as actors. Each holds a share of the training's state: when one is lost, the whole role is.

Then the stage goes on from its newest checkpoint with new processes (ray_runner.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from torch import Tensor

from sandwiching.launch.groups import LOST, Group
from sandwiching.launch.workers import LearnerActor, Spec
from sandwiching.policy.records import Evaluation, PPOBatch, Rollouts
from sandwiching.training.artifacts import StageFolder, Stopped
from sandwiching.training.distributed import is_broken_collective, is_taken_port

ANSWER_SECONDS = 10
"""What a process that is free takes at most to say that it is alive."""


class LearnerLost(RuntimeError):
    """A process of the learner ended or hangs, and with it a share of the training's state."""


def ranks_on_own_node(nodes: Sequence[str]) -> list[int]:
    """Of each rank, how many ranks its node has; nodes: that of each rank."""
    counts = Counter(nodes)
    return [counts[node] for node in nodes]


class LearnerGroup(Group):
    """The ranks of one learner; every call is made on all of them, and raises LearnerLost when one is lost."""

    actor = LearnerActor

    def host(self, spec: Spec, folder: StageFolder | None, extra: float = 0.0) -> None:
        """See Group."""
        calls = [actor.host.remote(spec, folder) for actor in self.actors]
        self._guarded(lambda: self.loaded(calls, extra))

    def meet(self) -> None:
        """Give every actor its rank, before the first role is hosted."""
        nodes = self._answers([actor.node.remote() for actor in self.actors], self.resources.start_timeout)
        ((address, port),) = self._answers([self.actors[0].address.remote()], self.resources.start_timeout)
        ranks, there = len(self.actors), ranks_on_own_node(nodes)
        joining = [actor.join.remote(rank, ranks, there[rank], address, port) for rank, actor in enumerate(self.actors)]
        self._answers(joining, self.resources.start_timeout)

    def all(self, method: str, *arguments: Any) -> list[Any]:
        """The same call on every rank, within resources.call_timeout."""
        return self._answers([actor.call.remote(method, *arguments) for actor in self.actors])

    def evaluate(self, rollouts: Rollouts, step: int) -> Evaluation:
        """Each rank evaluates the rows that it will train on first."""
        return Evaluation.join(self.all("evaluate", ray.put(rollouts), step))

    def update(self, batch: PPOBatch, step: int, may_stop: bool = False) -> dict[str, float]:
        """Statistics are the same on every rank."""
        return self.all("update", ray.put(batch), step, may_stop)[0]

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
        bound = self.resources.call_timeout if timeout is None else timeout
        return self._guarded(lambda: ray.get(list(calls), timeout=bound))

    def _guarded(self, answers: Callable[[], list[Any]]) -> list[Any]:
        try:
            return answers()
        except Stopped:
            raise  # all ranks agreed on it
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
