"""Runs stages on Ray: SFT and reward models as Ray Train jobs, PPO and what samples as actor groups."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import ray
from ray.exceptions import RayActorError
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError, WorkerHealthCheckTimeoutError
from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from sandwiching.configs.schema import ResourcesConfig
from sandwiching.launch.cluster import no_room, nodes_up, start_ray, wait_for_room
from sandwiching.launch.environment import device_environment, prepare_process
from sandwiching.launch.failures import root_cause
from sandwiching.launch.groups import MOST_LOST, EngineGroup, Group, ScorerGroup
from sandwiching.launch.head_watch import HeadWatch
from sandwiching.launch.learner_group import LearnerGroup, LearnerLost
from sandwiching.launch.placement import bundles, check_places, rank_bundles
from sandwiching.launch.workers import RoleActor
from sandwiching.training.artifacts import MANIFEST, StageFolder, Stopped
from sandwiching.training.roles import EngineSpec, LearnerSpec, ScorerSpec
from sandwiching.training.stage import StageCall, execute

G = TypeVar("G", bound=Group)
log = logging.getLogger(__name__)

LOST_WORKER = (RayActorError, WorkerHealthCheckTimeoutError)
"""What says of a Ray Train worker that it ended or hangs; not what a stage raises, and not too little memory."""


def train_loop(config: dict[str, Any]) -> None:
    """What every Ray Train worker runs: its rank of each stage, in a process that stays warm."""
    import torch

    from sandwiching.training.distributed import single_process_env

    prepare_process(config["resources"], config["threads"])
    if torch.cuda.is_available():
        torch.cuda.set_device(get_device())
    single_process_env()
    for call in config["calls"]:
        execute(call, resources=config["resources"])


class RayRoles:
    """Actor groups in one placement group, made on first use and used again by the next stage.

    folder: of the stage at work; long calls end when it asks to stop.
    """

    def __init__(self, resources: ResourcesConfig) -> None:
        self.resources = resources
        self.apart = not resources.colocate
        self.placement: PlacementGroup | None = None
        self.folder: StageFolder | None = None
        self.groups: dict[str, Group] = {}

    def engine(self, spec: EngineSpec) -> EngineGroup:
        """Engines over resources.rollout_engines actors."""
        group = self._group("engine", EngineGroup, self.resources.rollout_engines, self.resources.learner_ranks)
        group.host(spec, self.folder, self.resources.vllm.start_timeout if spec.kind == "vllm" else 0.0)
        return group

    def scorer(self, spec: ScorerSpec) -> ScorerGroup:
        """A scorer in every colocated bundle, or one of its own."""
        count = len(bundles(self.resources)) if self.resources.colocate else 1
        first = self.resources.learner_ranks + self.resources.rollout_engines
        group = self._group("scorer", ScorerGroup, count, first)
        group.host(spec, self.folder)
        return group

    def learner(self, spec: LearnerSpec) -> LearnerGroup:
        """A learner over resources.learner_ranks actors."""
        known = "learner" in self.groups
        group = self._group("learner", LearnerGroup, self.resources.learner_ranks, 0)
        if not known:
            group.meet()
        group.host(spec, self.folder)
        return group

    def close(self) -> None:
        """End the actors and free their devices."""
        for group in self.groups.values():
            group.end()
        self.groups = {}
        if self.placement is not None:
            remove_placement_group(self.placement)
            self.placement = None

    def _group(self, name: str, kind: type[G], count: int, first: int) -> G:
        if name not in self.groups:
            offset = 0 if self.resources.colocate else first
            make = partial(self._actor, kind.actor, offset)
            self.groups[name] = kind(make, count, self.resources)
        group = self.groups[name]
        assert isinstance(group, kind)
        return group

    def _place(self) -> PlacementGroup:
        if self.placement is None:
            wanted = bundles(self.resources)
            wait_for_room(wanted, self.resources)
            asked = [bundle.as_resources() for bundle in wanted]
            self.placement = placement_group(asked, strategy=self.resources.placement.upper())
        if not self.placement.wait(self.resources.start_timeout):
            raise no_room(bundles(self.resources), self.resources)
        return self.placement

    def _actor(self, kind: type[RoleActor], first: int, i: int) -> Any:
        placement, bundle = self._place(), first + i
        room = bundles(self.resources)[bundle]
        share = 0.3 if self.resources.colocate else 1.0
        options = {
            "num_cpus": room.cpus * share,
            "num_gpus": room.gpus * share,
            "scheduling_strategy": PlacementGroupSchedulingStrategy(placement, placement_group_bundle_index=bundle),
            "runtime_env": {"env_vars": process_environment(max(1, int(room.cpus)), self.resources.gpus)},
        }
        return ray.remote(kind).options(**options).remote(self.resources, max(1, int(room.cpus)))


def process_environment(threads: int, gpus: int) -> dict[str, str]:
    """Variables of every worker process."""
    return {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false", **device_environment(gpus)}


class JoinedRunner:
    """Runs stages on the cluster that this process is part of already, and leaves it as it is."""

    def __init__(self, resources: ResourcesConfig, storage: Path) -> None:
        self.resources = resources
        self.storage = storage
        self.roles = RayRoles(resources)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.roles.close()

    def run_on_ranks(self, calls: Sequence[StageCall]) -> None:
        """All calls in one warm worker group, or in `parallel_members` groups side by side."""
        self.roles.close()
        groups = max(1, min(self.resources.parallel_members, len(calls)))
        check_places(rank_bundles(self.resources, groups), nodes_up(), self.resources.placement)
        # In threads, since in the main one Ray Train would take Ctrl-C for itself, for good.
        pool = ThreadPoolExecutor(groups)
        try:
            running = [pool.submit(self._fit, list(calls[i::groups]), groups) for i in range(groups)]
            ended, _ = wait(running, return_when=FIRST_EXCEPTION)
            failures = [error for one in ended if (error := one.exception())]
            if failures and isinstance(root_cause(failures[0]), Stopped):
                wait(running)  # the others save too
            for error in failures:
                raise error
        finally:
            # Not waited for: after a signal or a failure, ray.shutdown ends what still runs.
            pool.shutdown(wait=False, cancel_futures=True)

    def _fit(self, calls: list[StageCall], groups: int) -> None:
        def fit() -> None:
            missing = [call for call in calls if not (call.folder.path / MANIFEST).exists()]
            if missing:
                missing[0].folder.stop_if_asked()
                try:
                    self._trainer(missing, groups).fit()
                except ControllerError as error:
                    if isinstance(error.controller_failure, WorkerGroupStartupTimeoutError):
                        raise no_room(rank_bundles(self.resources, groups), self.resources) from error
                    raise

        again(fit, lambda: wait_for_room(rank_bundles(self.resources, groups), self.resources))

    def _trainer(self, calls: list[StageCall], groups: int) -> TorchTrainer:
        bundle = rank_bundles(self.resources, groups)[0]
        threads = max(1, int(bundle.cpus))
        return TorchTrainer(
            train_loop,
            train_loop_config={"calls": calls, "resources": self.resources, "threads": threads},
            torch_config=TorchConfig(backend="nccl" if bundle.gpus else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=self.resources.learner_ranks,
                use_gpu=bool(bundle.gpus),
                resources_per_worker=bundle.as_resources(),
                placement_strategy=self.resources.placement.upper(),
            ),
            run_config=RunConfig(
                name=calls[0].folder.path.name,
                storage_path=str(self.storage.resolve()),
                worker_runtime_env={"env_vars": process_environment(threads, self.resources.gpus)},
                # Ray Train itself would wait for room for ever.
                failure_config=FailureConfig(controller_failure_limit=1),
            ),
        )

    def run_with_roles(self, calls: Sequence[StageCall]) -> None:
        """The loop runs here, in the driver; its roles are actors."""
        for call in calls:
            again(partial(self._drive, call), self.roles.close)

    def _drive(self, call: StageCall) -> None:
        call.folder.stop_if_asked()
        self.roles.folder = call.folder
        execute(call, resources=self.resources, roles=self.roles)


class RayRunner(JoinedRunner):
    """Runs stages on the cluster at RAY_ADDRESS, or on one started here.

    abandon: called, from another thread, when the cluster's head is lost; it ends the process. Ray's calls would hang.
    """

    def __init__(self, resources: ResourcesConfig, storage: Path, abandon: Callable[[BaseException], None]) -> None:
        super().__init__(resources, storage)
        self.watch = HeadWatch(abandon)

    def __enter__(self) -> Self:
        start_ray(self.resources)
        self.watch.start(ray.get_runtime_context().gcs_address)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self.watch.stop()
        ray.shutdown()


def again(run: Callable[[], Any], clear: Callable[[], None]) -> None:
    """Run, and when processes with state were lost `clear` and run again: stages go on from their newest checkpoint."""
    for _ in range(MOST_LOST):
        try:
            run()
        except (LearnerLost, WorkerGroupError) as error:
            if not process_is_lost(error):
                raise
            log.warning("%s; the stage goes on from its newest checkpoint with new processes", error)
            clear()
        else:
            return
    run()


def process_is_lost(error: LearnerLost | WorkerGroupError) -> bool:
    """Not for what a stage itself raised, which it would raise again."""
    if isinstance(error, LearnerLost):
        return True
    return any(isinstance(root_cause(failure), LOST_WORKER) for failure in error.worker_failures.values())
