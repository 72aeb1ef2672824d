"""Proximal policy optimisation against a reward ensemble: one stage, one loop.

prompts -> generate -> score (rewards; old and reference log-probs, values) -> advantages -> update -> publish
              ^                                                                                      |
              +------------------------------- new weights ------------------------------------------+

With ppo.staleness=1 the rollouts of the next step are made while this one trains. Where roles have devices of their
own, rollouts are scored while others are sampled and while the learner evaluates.

sandwich run configs/capitals.yaml --only ppo
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from torch import Tensor

from sandwiching.configs.algebra import scoring_passes
from sandwiching.configs.schema import (
    DataConfig,
    ModelConfig,
    PPOConfig,
    ResourcesConfig,
    RewardModelConfig,
    TaskConfig,
)
from sandwiching.policy.engine import RolloutEngine, Sampling
from sandwiching.policy.kl import KL_CONTROLLERS, KLController
from sandwiching.policy.records import Rollouts
from sandwiching.policy.tokenization import load_tokenizer
from sandwiching.tasks.registry import make_task
from sandwiching.training import checkpoints
from sandwiching.training.artifacts import StageFolder, Stopped
from sandwiching.training.base import base_folder
from sandwiching.training.checkpoints import RECORD
from sandwiching.training.experience import experience, refuse_another_policy
from sandwiching.training.metrics import MetricsLog, read_metrics
from sandwiching.training.profile import Profile
from sandwiching.training.prompts import PromptQueue, fitting_prompts
from sandwiching.training.roles import EngineSpec, Learner, LearnerSpec, Roles, Scorer, ScorerSpec
from sandwiching.training.rollout_queue import Made, RolloutQueue
from sandwiching.training.saving import Saver
from sandwiching.training.snapshots import write_rollouts
from sandwiching.training.spans import Spans
from sandwiching.training.state import RandomState, StateRegistry


@dataclass(slots=True)
class Workers:
    """The three roles of one PPO run. part: rows that the engine samples at a time; apart: see Roles."""

    engine: RolloutEngine
    scorer: Scorer
    learner: Learner
    part: int
    apart: bool

    def peak_flops(self) -> dict[str, float]:
        """FLOP/s that a role's devices can reach: of the learner, and of the roles that share its devices."""
        peak = self.learner.peak_flops()
        return {"learner": peak} if self.apart else {"learner": peak, "engine": peak, "scorer": peak}


class TrainState:
    """All state of the loop itself; the learner keeps its own. Both go into each checkpoint."""

    def __init__(self, prompts: PromptQueue, kl: KLController, seed: int) -> None:
        self.prompts = prompts
        self.kl = kl
        self.random = RandomState(seed)
        self.registry = StateRegistry()
        self.registry.register(self)


class PPO:
    """The loop's fixed parts."""

    def __init__(
        self, workers: Workers, state: TrainState, ppo: PPOConfig, reward_model: RewardModelConfig, seed: int
    ) -> None:
        self.workers = workers
        self.state = state
        self.ppo = ppo
        self.reward_model = reward_model
        self.seed = seed
        self.spans = Spans()
        self.rollouts = RolloutQueue(
            workers.engine,
            workers.scorer,
            state.prompts,
            Sampling(ppo.sampling.temperature, ppo.sampling.max_new_tokens),
            self.spans,
            seed=seed,
            count=ppo.batch_size // ppo.samples_per_prompt,
            samples=ppo.samples_per_prompt,
            part=workers.part,
            apart=workers.apart,
        )
        state.registry.register(self)

    def step(self, step: int, folder: StageFolder, may_stop: bool = False) -> dict[str, Any]:
        """One round; returns its metrics.

        Raises Stopped when the folder asks for it before the update: then all state is that from before the step, but
        that its rollouts may be made. may_stop: in the update too, after which the learner's state is half a step's.
        """
        ppo, workers, clock = self.ppo, self.workers, Clock()
        self.spans.forget(clock.last)
        made = self.rollouts.take(step)
        clock.lap("generate")
        rollouts = made.rollouts
        try:
            folder.stop_if_asked()
            if ppo.staleness and step + 1 < ppo.steps:
                self.rollouts.start(step + 1)
            with self.spans.span("learner", "evaluate"):
                evaluation = workers.learner.evaluate(rollouts, step).in_order()
            clock.lap("evaluate")
            made = Made.whole(rollouts, made.version, made.scores)
            clock.lap("score")
            folder.stop_if_asked()
        except Stopped:
            self.rollouts.give_back(made)
            raise
        batch, record = experience(
            rollouts, made.scores, evaluation, ppo, self.reward_model, self.state.kl.coefficient, step - made.version
        )
        refuse_another_policy(record.metrics, ppo.most_mismatch, lambda: self._layer_states(rollouts))
        with self.spans.span("learner", "update"):
            statistics = workers.learner.update(batch, step, may_stop)
        clock.lap("update")
        self.rollouts.wait()
        clock.lap("wait")
        self._publish(step + 1)
        clock.lap("publish")
        self.state.prompts.consume(self.rollouts.count)
        self.state.kl.update(record.metrics["ppo/kl"], len(rollouts))
        if (step + 1) % ppo.snapshot_every == 0 or step + 1 == ppo.steps:
            snapshot = folder.snapshots / f"step_{step + 1}"
            workers.learner.snapshot(snapshot)
            write_rollouts(snapshot / "rollouts.jsonl.gz", rollouts, record)
        named = {f"ppo/{name}": value for name, value in statistics.items()}
        prompts = {
            "prompts": list(dict.fromkeys(rollouts.prompt_ids)),
            "ppo/engine_restarts": workers.engine.restarts(),
        }
        return {**prompts, **record.metrics, **named, **clock.seconds}

    def _layer_states(self, rollouts: Rollouts) -> tuple[Tensor, Tensor]:
        """Of the weights that both have now, whatever sampled these."""
        self.rollouts.wait()
        text = rollouts.tokens_BS[0, rollouts.attention_BS[0]].tolist()
        return self.workers.engine.layer_states(text), self.workers.learner.layer_states(text)

    def _publish(self, version: int) -> None:
        with self.spans.span("learner", "weights"):
            weights = self.workers.learner.weights()
        with self.spans.span("engine", "load weights"):
            self.workers.engine.load_weights(weights, version)


class Clock:
    """Seconds a phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.last = perf_counter()

    def lap(self, name: str) -> None:
        """The time since the last lap belongs to `name`."""
        now = perf_counter()
        self.seconds[f"time/{name}"] = now - self.last
        self.last = now


def train_ppo(
    *,
    model: ModelConfig,
    task: TaskConfig,
    data: DataConfig,
    reward_model: RewardModelConfig,
    ppo: PPOConfig,
    seed: int,
    resources: ResourcesConfig,
    parents: Mapping[str, Path],
    folder: StageFolder,
    roles: Roles,
) -> dict[str, float]:
    """Train a policy; resumes from the folder's newest good checkpoint. Returns the last step's metrics."""
    start = base_folder(model, parents)
    members = tuple(parents[name] / "model" for name in sorted(parents) if name.startswith("reward_model/"))
    reference, ahead = None if model.lora else start, ppo.staleness > 0
    scoring = (members, reference, model, ppo.sampling.temperature, reward_model.kind, start)
    workers = Workers(
        engine=roles.engine(EngineSpec(start, model, model.lora is not None, ppo.engine, ahead=ahead)),
        scorer=roles.scorer(ScorerSpec(*scoring, ahead=ahead)),
        learner=roles.learner(LearnerSpec(start, _value_start(ppo, members), model, ppo, seed)),
        part=resources.rollout_batch * resources.rollout_engines,
        apart=roles.apart,
    )
    tokenizer = load_tokenizer(start, model.pad_token)
    prompts, tokens = fitting_prompts(
        make_task(task, data, seed, folder.path / "rejected.jsonl").prompts("train"),
        tokenizer,
        room=ppo.sampling.max_new_tokens,
        max_length=model.max_length,
        too_long=data.too_long,
    )
    queue = PromptQueue([prompt.id for prompt in prompts], tokens, seed)
    kl = KL_CONTROLLERS[ppo.kl.controller](ppo.kl.coefficient, ppo.kl.target, ppo.kl.horizon)
    loop = PPO(workers, TrainState(queue, kl, seed), ppo, reward_model, seed)
    profile = Profile(folder.path, start, model.precision, ppo, model.lora is not None, scoring_passes(reward_model))
    metrics = _train(loop, resources, folder, profile if resources.profile else None)
    # Only here: a run that fails ends its processes, and must not wait for what they are at.
    workers.engine.close()
    folder.check_attempt()
    workers.learner.export(folder)
    return metrics


def _value_start(ppo: PPOConfig, members: tuple[Path, ...]) -> Path | None:
    return members[0] if ppo.advantage == "gae" and ppo.value == "model" else None


def _train(loop: PPO, resources: ResourcesConfig, folder: StageFolder, profile: Profile | None) -> dict[str, float]:
    """All steps that are left, with checkpoints between them; the second is profiled, the first has to warm up.

    Raises Stopped, after a checkpoint, when the folder asks for it.
    """
    log = MetricsLog(folder.metrics)
    done, record = resume(loop, folder)
    log.cut(done)
    saved = done
    with Saver(folder, loop.workers.learner, resources) as saver:
        for step in range(done, loop.ppo.steps):
            started = perf_counter()
            try:
                # An update is given up only where the state before it is on disk, or will be: nobody can take it back.
                record = loop.step(step, folder, may_stop=step == saved) | saver.take_held()
            except Stopped:
                saver.wait()
                if step != saved:
                    save(loop, saver, step, record)
                    saver.wait()
                raise
            if profile is not None and step == min(done + 1, loop.ppo.steps - 1):
                profile.write(loop.spans, started, perf_counter(), record, loop.workers.peak_flops())
            log.write({"step": step + 1, **record})
            folder.report(step + 1, loop.ppo.steps)
            saver.look()
            last = step + 1 == loop.ppo.steps
            stopping = folder.asked_to_stop() and not last
            if (step + 1) % resources.checkpoint_every == 0 or last or stopping:
                save(loop, saver, step + 1, record)
                saved = step + 1
            if stopping:
                saver.wait()
                raise Stopped(f"{folder.path.name} stopped after step {step + 1}")
    return {name: value for name, value in record.items() if name != "prompts" and not name.startswith("time/")}


def save(loop: PPO, saver: Saver, step: int, record: Mapping[str, Any]) -> None:
    """One joint checkpoint of loop and learner: whole, or absent."""
    temporary = saver.begin(step)
    loop.workers.learner.save(temporary)
    loop.state.registry.save(temporary / "loop.pt")
    MetricsLog(temporary / RECORD).write({"step": step, **record})
    saver.end(temporary, step)


def resume(loop: PPO, folder: StageFolder) -> tuple[int, dict[str, Any]]:
    """Back to the newest good checkpoint: its step (0: none) and metrics. The engine gets the learner's weights."""
    checkpoint = checkpoints.latest(folder.checkpoints)
    if checkpoint is None:
        return 0, {}
    loop.workers.learner.load(checkpoint)
    loop.state.registry.load(checkpoint / "loop.pt")
    step = checkpoints.step_of(checkpoint)
    loop.workers.engine.load_weights(loop.workers.learner.weights(), step)
    record = read_metrics(checkpoint / RECORD)[0]
    del record["step"]
    return step, record
