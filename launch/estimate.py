"""Memory and disk that a run needs, by arithmetic on parameter counts; nothing is loaded.

Training, per trained parameter (Rajbhandari et al., arXiv 1910.02054, section 3): the working copy, its gradient, and
12 bytes of fp32 master weight and Adam moments; ZeRO stages 1, 2, 3 divide optimiser, gradients, weights by the ranks.
Activations are a rule of thumb (Korthikanti et al., arXiv 2205.05198, eq. 2 without attention scores).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sandwiching.configs.algebra import shares_trunk
from sandwiching.configs.load import arm_config
from sandwiching.configs.schema import Config, LoraConfig, ModelConfig, ResourcesConfig
from sandwiching.launch.architecture import Architecture
from sandwiching.launch.nodes import Node

MASTER_AND_MOMENTS = 12
ACTIVATION_BYTES = 34
"""Bytes a token, hidden unit and layer that the backward pass keeps, in 16 bits."""
WORKING_BYTES = {"fp32": 4, "bf16": 2}
EXPORT_BYTES = 4
"""Models are exported in fp32."""


@dataclass(frozen=True, slots=True)
class RoleMemory:
    """Bytes that one process of a role holds: on its device by purpose, and in host memory."""

    role: str
    processes: int
    parts: dict[str, int] = field(default_factory=dict)
    host: int = 0

    @property
    def device(self) -> int:
        """Sum on the device."""
        return sum(self.parts.values())


def trained_parameters(total: int, architecture: Architecture, model: ModelConfig) -> int:
    """Parameters with gradients: the adapters, or all."""
    return architecture.lora_parameters(model.lora.rank) if model.lora else total


def learner_memory(
    role: str, total: int, trained: int, rows: int, architecture: Architecture, config: Config
) -> RoleMemory:
    """One rank that trains `trained` of `total` parameters on `rows` sequences at a time.

    On the host: the copy that a checkpoint is written from.
    """
    resources, width = config.resources, WORKING_BYTES[config.model.precision]
    ranks, stage = resources.learner_ranks, resources.zero_stage
    states = trained * (8 if stage == 0 and width == 4 else MASTER_AND_MOMENTS) // (ranks if stage >= 1 else 1)
    tokens = rows * config.model.max_length
    layer = tokens * architecture.hidden_size * ACTIVATION_BYTES * width // 2
    kept = layer * architecture.num_hidden_layers
    if resources.gradient_checkpointing:
        kept = layer + tokens * architecture.hidden_size * width * architecture.num_hidden_layers
    if not trained:
        kept = layer
    parts = {
        "weights": total * width // (ranks if stage == 3 else 1),
        "gradients": trained * width // (ranks if stage >= 2 else 1),
        "optimizer": 0 if resources.offload else states,
        "activations": kept,
    }
    copy = checkpoint_bytes(trained, config.model.precision) // (ranks if stage >= 1 else 1)
    return RoleMemory(role, ranks, parts, host=copy + (states if resources.offload else 0))


def engine_memory(rows: int, architecture: Architecture, config: Config) -> RoleMemory:
    """One engine that samples `rows` sequences at a time: weights, and the keys and values of all tokens."""
    width = WORKING_BYTES[config.model.precision]
    cache = 2 * architecture.num_hidden_layers * architecture.key_value_width * config.model.max_length * rows * width
    return RoleMemory(
        "rollout engine", config.resources.rollout_engines, {"weights": architecture.parameters * width, "cache": cache}
    )


def vllm_memory(architecture: Architecture, config: Config) -> RoleMemory:
    """One engine of PPO on vLLM, whose cache holds resources.rollout_batch sequences (a GPU: what memory_share leaves).

    On the host: what is pushed, and for adapters the base that they are merged into, in fp32.
    """
    engine = engine_memory(config.resources.rollout_batch, architecture, config)
    copies = 2 if config.model.lora else 1
    return replace(engine, host=copies * 4 * architecture.parameters)


def scorer_memory(architecture: Architecture, config: Config) -> RoleMemory:
    """The ensemble (training/members.py), and the reference where the learner cannot give it (full fine-tuning)."""
    resources, width, count = config.resources, WORKING_BYTES[config.model.precision], config.reward_model.members
    shared = shares_trunk(config)
    adapter = architecture.lora_parameters((config.model.lora or LoraConfig()).rank)
    own = architecture.hidden_size + (adapter if shared and config.reward_model.kind == "lora" else 0)
    members = ((1 if shared else count) * architecture.trunk_parameters + count * own) * width
    reference = 0 if config.model.lora else architecture.parameters * width
    processes = max(resources.learner_ranks, resources.rollout_engines) if resources.colocate else 1
    tokens = resources.rollout_batch * config.model.max_length
    forward = tokens * max(architecture.intermediate_size * 3, architecture.hidden_size * 8) * width
    return RoleMemory("scorer", processes, {"weights": members + reference, "activations": forward})


def stage_memory(config: Config, architecture: Architecture) -> dict[str, list[RoleMemory]]:
    """Roles that are in memory at the same time, by stage."""
    resources, ppo, model = config.resources, config.ppo, config.model
    total, trunk = architecture.parameters, architecture.trunk_parameters
    stages: dict[str, list[RoleMemory]] = {}
    if config.plant is not None:
        stages["plant"] = [learner_memory("learner", total, total, config.plant.batch_size, architecture, config)]
    if config.sft is not None:
        trained = trained_parameters(total, architecture, model)
        stages["sft"] = [learner_memory("learner", total, trained, resources.micro_batch, architecture, config)]
    if config.task.name != "judgements":
        stages["pairs"] = [engine_memory(resources.rollout_batch, architecture, config)]
    kind = config.reward_model.kind
    adapters = architecture.lora_parameters((model.lora or LoraConfig()).rank)
    trained = {"probe": 0, "full": trunk, "lora": adapters}[kind]
    stages["reward_model"] = [learner_memory("learner", trunk, trained, resources.micro_batch, architecture, config)]
    if ppo is not None:
        own = ppo.batch_size // ppo.minibatches // resources.learner_ranks
        rows = min(own, resources.micro_batch)
        trained = trained_parameters(total, architecture, model)
        roles = [learner_memory("policy", total, trained, rows, architecture, config)]
        if ppo.advantage == "gae" and ppo.value == "model":
            trained = trained_parameters(trunk, architecture, model)
            roles.append(learner_memory("value", trunk, trained, rows, architecture, config))
        share = min(resources.rollout_batch, math.ceil(ppo.batch_size / resources.rollout_engines))
        engine = engine_memory(share, architecture, config)
        if ppo.engine == "vllm":
            engine = vllm_memory(architecture, config)
        stages["ppo"] = [*roles, engine, scorer_memory(architecture, config)]
    return stages


def per_device(roles: Sequence[RoleMemory], resources: ResourcesConfig) -> int:
    """Bytes on the fullest device: on one GPU where roles share it; on a CPU the node's memory holds every process."""
    if not resources.gpus:
        return sum((role.device + role.host) * role.processes for role in roles) // resources.nodes
    learner = sum(role.device for role in roles if role.role in ("learner", "policy", "value"))
    others = [role.device for role in roles if role.role not in ("learner", "policy", "value")]
    return learner + sum(others) if resources.colocate else max([learner, *others])


def checkpoint_bytes(trained: int, precision: str) -> int:
    """One training checkpoint: working copies, fp32 masters and Adam moments of what is trained."""
    return trained * (WORKING_BYTES[precision] + MASTER_AND_MOMENTS)


@dataclass(frozen=True, slots=True)
class StageDisk:
    """Bytes that a stage leaves when it is done, one checkpoint of it, and the most that it has on disk meanwhile."""

    finished: int = 0
    checkpoint: int = 0
    most: int = 0


def stage_disk(node: Node, config: Config, architecture: Architecture) -> StageDisk:
    """Model, adapter and snapshots; checkpoints that are kept, and one that is being written beside them."""
    if node.stage == "plant":
        model = architecture.parameters * EXPORT_BYTES
        return StageDisk(model, 0, model)
    if node.stage not in ("sft", "reward_model", "ppo"):
        return StageDisk()
    config = arm_config(config, node.arms[0]) if node.arms else config
    lora, ppo, kind = config.model.lora, config.ppo, config.reward_model.kind
    if node.stage == "reward_model":
        lora = (lora or LoraConfig()) if kind == "lora" else None
    total = architecture.trunk_parameters if node.stage == "reward_model" else architecture.parameters
    if node.stage == "reward_model" and kind == "probe":
        return StageDisk(total * EXPORT_BYTES, 0, total * EXPORT_BYTES)
    trained = architecture.lora_parameters(lora.rank) if lora else total
    size = (total + (trained if lora else 0)) * EXPORT_BYTES
    checkpoint = checkpoint_bytes(trained, config.model.precision)
    if node.stage == "ppo" and ppo is not None:
        size += math.ceil(ppo.steps / ppo.snapshot_every) * trained * WORKING_BYTES[config.model.precision]
        checkpoint *= 2 if ppo.advantage == "gae" and ppo.value == "model" else 1
    best = int(config.resources.keep_best is not None)
    finished, working = config.resources.keep_finished + best, config.resources.keep + best + 1
    return StageDisk(size + finished * checkpoint, checkpoint, size + working * checkpoint)
