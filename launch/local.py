"""Every role and rank in this one process: a laptop, a single GPU, a test."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from sandwiching.configs.schema import ResourcesConfig
from sandwiching.launch.environment import prepare_process
from sandwiching.launch.placement import usable_cpus
from sandwiching.policy.engine import RolloutEngine
from sandwiching.training.artifacts import StageFolder
from sandwiching.training.distributed import single_process_env
from sandwiching.training.engines import build_engine
from sandwiching.training.learner import DeepSpeedLearner
from sandwiching.training.polling import StopPoll
from sandwiching.training.roles import EngineSpec, LearnerSpec, ScorerSpec
from sandwiching.training.scorer import TransformersScorer
from sandwiching.training.stage import StageCall, execute


class LocalRoles:
    """Roles as plain objects, whose long calls end when the folder of the stage at work asks to stop."""

    def __init__(self, resources: ResourcesConfig, folder: StageFolder | None = None) -> None:
        self.resources = resources
        self.poll = StopPoll(folder)
        self.apart = False

    def engine(self, spec: EngineSpec) -> RolloutEngine:
        """An engine in this process."""
        return build_engine(spec, self.resources, self.poll)

    def scorer(self, spec: ScorerSpec) -> TransformersScorer:
        """A scorer in this process."""
        return TransformersScorer(spec, self.resources.rollout_batch, self.poll)

    def learner(self, spec: LearnerSpec) -> DeepSpeedLearner:
        """The only rank of the learner."""
        return DeepSpeedLearner(spec, self.resources, self.poll)


class LocalRunner:
    """Runs stages one after the other in this process."""

    def __init__(self, resources: ResourcesConfig) -> None:
        self.resources = resources

    def __enter__(self) -> LocalRunner:
        prepare_process(self.resources, usable_cpus(self.resources))
        single_process_env()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def run_on_ranks(self, calls: Sequence[StageCall]) -> None:
        """Stages that train on every learner rank: here rank 0 of 1."""
        for call in calls:
            execute(call, resources=self.resources)

    def run_with_roles(self, calls: Sequence[StageCall]) -> None:
        """Stages that drive roles."""
        for call in calls:
            execute(call, resources=self.resources, roles=LocalRoles(self.resources, call.folder))
