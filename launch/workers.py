"""The roles of PPO as Ray actors, and the groups that stand for them in the driver.

An actor hosts one role after another, so that a process that has imported everything is used again.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
import torch
from ray.actor import ActorHandle
from torch import Tensor

from sandwiching.configs.schema import ResourcesConfig
from sandwiching.launch.environment import prepare_process
from sandwiching.policy.engine import Sampling
from sandwiching.policy.records import Evaluation, PPOBatch, PromptBatch, Rollouts
from sandwiching.training.artifacts import StageFolder
from sandwiching.training.distributed import free_port, set_rank_environment
from sandwiching.training.engines import build_engine
from sandwiching.training.learner import DeepSpeedLearner
from sandwiching.training.roles import EngineSpec, LearnerSpec, ScorerSpec, Scores
from sandwiching.training.scorer import TransformersScorer


class RoleActor:
    """Hosts a role: an engine, a scorer or one rank of a learner."""

    def __init__(self, resources: ResourcesConfig, threads: int) -> None:
        prepare_process(resources, threads)
        self.resources = resources
        self.role: Any = None

    def address(self) -> tuple[str, int]:
        """This node's address and a free port, where rank 0 can be met."""
        return ray.util.get_node_ip_address(), free_port()

    def join(self, rank: int, ranks: int, address: str, port: int) -> None:
        """Become a rank; the process group itself is made by the learner."""
        set_rank_environment(rank, ranks, 0, address, port)

    def host(self, spec: EngineSpec | ScorerSpec | LearnerSpec) -> None:
        """Drop the present role and build the one of `spec`."""
        self.role = None
        gc.collect()
        if isinstance(spec, EngineSpec):
            self.role = build_engine(spec, self.resources)
        elif isinstance(spec, ScorerSpec):
            self.role = TransformersScorer(spec, self.resources.rollout_batch)
        else:
            self.role = DeepSpeedLearner(spec, self.resources)

    def weights(self) -> dict[str, Tensor]:
        """Of a learner, on the CPU: who gets them may have no GPU."""
        return {name: tensor.cpu() for name, tensor in self.role.weights().items()}

    def call(self, method: str, *arguments: Any) -> Any:
        """A method of the hosted role."""
        return getattr(self.role, method)(*arguments)


class Group:
    """Actors that host the same kind of role."""

    def __init__(self, actors: Sequence[ActorHandle], start_timeout: float) -> None:
        self.actors = list(actors)
        self.start_timeout = start_timeout

    def host(self, spec: EngineSpec | ScorerSpec | LearnerSpec, extra: float = 0.0) -> None:
        """All actors build the role, within resources.start_timeout and `extra` seconds."""
        ray.get([actor.host.remote(spec) for actor in self.actors], timeout=self.start_timeout + extra)

    def all(self, method: str, *arguments: Any) -> list[Any]:
        """The same call on every actor."""
        return ray.get([actor.call.remote(method, *arguments) for actor in self.actors])


class EngineGroup(Group):
    """Data-parallel engines; looks like one RolloutEngine."""

    version = 0
    elsewhere = True

    def load_weights(self, weights: Mapping[str, Tensor], version: int) -> None:
        """Push new weights to every engine."""
        shared = ray.put(dict(weights))
        self.all("load_weights", shared, version)
        self.version = version

    def load(self, folder: Path, version: int) -> None:
        """Load a model folder in every engine."""
        self.all("load", folder, version)
        self.version = version

    def generate(self, prompts: PromptBatch, sampling: Sampling, seed: int, step: int) -> Rollouts:
        """Each engine samples for a share of the rows."""
        shares = [(part[0], part[-1] + 1) for part in _shares(len(prompts), len(self.actors))]
        parts = ray.get(
            [
                actor.call.remote("generate", prompts.rows(start, stop), sampling, seed, step)
                for actor, (start, stop) in zip(self.actors, shares, strict=False)
            ]
        )
        return Rollouts.together(parts)

    def logprobs(
        self, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], temperature: float
    ) -> Tensor:
        """Summed response log-probs [B]."""
        parts = [
            actor.call.remote("logprobs", [prompts[i] for i in rows], [responses[i] for i in rows], temperature)
            for actor, rows in zip(self.actors, _shares(len(prompts), len(self.actors)), strict=False)
        ]
        return torch.cat(ray.get(parts))

    def restarts(self) -> int:
        """Of all engines."""
        return sum(self.all("restarts"))

    def layer_states(self, tokens: Sequence[int]) -> Tensor:
        """Of the first engine."""
        (states,) = ray.get([self.actors[0].call.remote("layer_states", list(tokens))])
        return states

    def close(self) -> None:
        """The actors stay, and host other roles."""
        self.all("close")


class ScorerGroup(Group):
    """Data-parallel scorers."""

    def score(self, rollouts: Rollouts) -> Scores:
        """Each scorer takes a share of the rows."""
        shares = _shares(len(rollouts), len(self.actors))
        parts: list[Scores] = ray.get(
            [
                actor.call.remote("score", rollouts.select(torch.tensor(rows)))
                for actor, rows in zip(self.actors, shares, strict=False)
            ]
        )
        return Scores.join(parts)


class LearnerGroup(Group):
    """The ranks of one learner; every call is made on all of them."""

    def meet(self) -> None:
        """Give every actor its rank, before the first role is hosted."""
        address, port = ray.get(self.actors[0].address.remote(), timeout=self.start_timeout)
        ranks = len(self.actors)
        ray.get([actor.join.remote(rank, ranks, address, port) for rank, actor in enumerate(self.actors)])

    def evaluate(self, rollouts: Rollouts, step: int) -> Evaluation:
        """Each rank evaluates the rows that it will train on first."""
        return Evaluation.join(self.all("evaluate", ray.put(rollouts), step))

    def update(self, batch: PPOBatch, step: int) -> dict[str, float]:
        """Statistics are the same on every rank."""
        return self.all("update", ray.put(batch), step)[0]

    def weights(self) -> Mapping[str, Tensor]:
        """From rank 0; all ranks take part (ZeRO-3 gathers)."""
        return ray.get([actor.weights.remote() for actor in self.actors])[0]

    def layer_states(self, tokens: Sequence[int]) -> Tensor:
        """From rank 0; all ranks take part (ZeRO-3 gathers)."""
        return self.all("layer_states", list(tokens))[0]

    def peak_flops(self) -> float:
        """All ranks at once, as they train."""
        return sum(self.all("peak_flops"))

    def save(self, directory: Path) -> None:
        """Every rank writes its part."""
        self.all("save", directory)

    def load(self, directory: Path) -> None:
        """Every rank reads its part."""
        self.all("load", directory)

    def snapshot(self, directory: Path) -> None:
        """Rank 0 writes."""
        self.all("snapshot", directory)

    def export(self, folder: StageFolder) -> None:
        """Rank 0 writes."""
        self.all("export", folder)


def _shares(rows: int, parts: int) -> list[list[int]]:
    return [part.tolist() for part in torch.arange(rows).chunk(parts)]
