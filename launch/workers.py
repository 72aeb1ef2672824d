"""The roles of PPO as Ray actors. Each kind has a name of its own, which `top` shows.

An actor hosts one role after another, so that a process that has imported everything is used again.
"""

from __future__ import annotations

import gc
from typing import Any

import ray
from torch import Tensor

from sandwiching.configs.schema import ResourcesConfig
from sandwiching.launch.environment import prepare_process
from sandwiching.training.artifacts import StageFolder
from sandwiching.training.distributed import free_port, set_rank_environment
from sandwiching.training.engines import build_engine
from sandwiching.training.learner import DeepSpeedLearner
from sandwiching.training.polling import StopPoll
from sandwiching.training.roles import EngineSpec, LearnerSpec, ScorerSpec
from sandwiching.training.scorer import TransformersScorer

Spec = EngineSpec | ScorerSpec | LearnerSpec


class RoleActor:
    """Hosts a role."""

    def __init__(self, resources: ResourcesConfig, threads: int) -> None:
        prepare_process(resources, threads)
        self.resources = resources
        self.role: Any = None

    def alive(self) -> None:
        """Answers, if anything does."""

    def host(self, spec: Spec, folder: StageFolder | None) -> None:
        """Drop the present role and build the one of `spec`, whose long calls end when the folder asks to stop."""
        self.role = None
        gc.collect()
        poll = StopPoll(folder)
        if isinstance(spec, EngineSpec):
            self.role = build_engine(spec, self.resources, poll)
        elif isinstance(spec, ScorerSpec):
            self.role = TransformersScorer(spec, self.resources.rollout_batch, poll)
        else:
            self.role = DeepSpeedLearner(spec, self.resources, poll)

    def call(self, method: str, *arguments: Any) -> Any:
        """A method of the hosted role."""
        return getattr(self.role, method)(*arguments)


class EngineActor(RoleActor):
    """A rollout engine."""


class ScorerActor(RoleActor):
    """A scorer."""


class LearnerActor(RoleActor):
    """One rank of a learner."""

    def address(self) -> tuple[str, int]:
        """This node's address and a free port, where rank 0 can be met."""
        return ray.util.get_node_ip_address(), free_port()

    def node(self) -> str:
        """Ray's id of this node."""
        return ray.get_runtime_context().get_node_id()

    def join(self, rank: int, ranks: int, ranks_here: int, address: str, port: int) -> None:
        """Become a rank, of which this node has `ranks_here`; the process group itself is made by the learner."""
        set_rank_environment(rank, ranks, 0, ranks_here, address, port)

    def weights(self) -> dict[str, Tensor]:
        """Copies on the CPU: who gets them may have no GPU, and DeepSpeed's tensors are views of one buffer, all of
        which would travel with each."""
        return {name: tensor.to("cpu", copy=True) for name, tensor in self.role.weights().items()}
