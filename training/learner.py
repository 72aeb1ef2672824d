"""The learner of PPO, one rank of it: policy and value under DeepSpeed.

    evaluate(rollouts, step) -> old log-probs, reference log-probs, values      (before the update)
    update(batch, step)  -> epochs x minibatches of clipped policy loss, then value loss

Every rank holds the whole batch (it is small: token ids and floats) and computes its own rows, so that a minibatch is
the same set of rows whatever the number of ranks. Rows of like length share a pass (passes.py), packed without padding
and with what all prompts begin with once, where the model allows it (policy/trunk.py); only response tokens meet the
vocabulary (kernels/).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from sandwiching.configs.schema import ResourcesConfig
from sandwiching.policy.heads import use_op_head
from sandwiching.policy.loading import load_causal_lm, load_score_model
from sandwiching.policy.logprobs import logprob_kl_op, logprob_op
from sandwiching.policy.lora import adapter_weights
from sandwiching.policy.modules import PolicyModule, ValueModule
from sandwiching.policy.records import Evaluation, PPOBatch, Responses, Rollouts
from sandwiching.policy.tokenization import load_tokenizer
from sandwiching.policy.trunk import layer_states, packs
from sandwiching.training import distributed
from sandwiching.training.artifacts import StageFolder
from sandwiching.training.averaging import WeightAverage
from sandwiching.training.checkpoints import Layout, read_layout, write_layout
from sandwiching.training.devices import compute_dtype, peak_flops, release_freed_memory
from sandwiching.training.engine import TrainingEngine
from sandwiching.training.passes import plan_passes
from sandwiching.training.polling import StopPoll
from sandwiching.training.roles import LearnerSpec
from sandwiching.training.saving import BackgroundFiles
from sandwiching.training.schedule import SCHEDULES
from sandwiching.training.state import RandomState, StateRegistry
from sandwiching.training.updates import Sums, policy_losses, value_losses
from sandwiching.training.weights import export_trained, master_weights, persistence_threshold, trainable


def recompute_activations(model: PreTrainedModel, resources: ResourcesConfig) -> None:
    """If configured. Hugging Face recomputes in training mode only; that changes nothing else without dropout."""
    if resources.gradient_checkpointing:
        model.activation_checkpointing_enable()
        model.train()


log = logging.getLogger(__name__)
POLICY_PREFIX = "model."
"""Where PolicyModule keeps the causal LM."""


class DeepSpeedLearner:
    """This rank's share of the learner. poll: asked before each pass of an evaluation."""

    def __init__(self, spec: LearnerSpec, resources: ResourcesConfig, poll: StopPoll | None = None) -> None:
        self.poll = poll or StopPoll(None)
        distributed.init_process_group()
        self.spec = spec
        ppo = spec.ppo
        self.micro_batch = resources.micro_batch
        self.layout = Layout(distributed.world_size(), resources.zero_stage, resources.offload)
        self.files = BackgroundFiles()
        rows = ppo.batch_size // ppo.minibatches // distributed.world_size()
        trunk = load_causal_lm(spec.policy, torch.float32)
        use_op_head(trunk)
        recompute_activations(trunk, resources)
        self.module = PolicyModule(
            trainable(trunk, spec.model.lora, spec.seed, "CAUSAL_LM"), value_head=ppo.value == "head"
        )
        shared = {
            "optimizer": ppo.optimizer,
            "resources": resources,
            "precision": spec.model.precision,
            "most_passes": -(-rows // self.micro_batch),
            "persistence_threshold": persistence_threshold(spec.policy),
            "files": self.files,
        }
        self.policy = TrainingEngine(self.module, learning_rate=ppo.optimizer.learning_rate, **shared)
        models = [self.module.model]
        self.value = None
        if spec.value is not None:
            rate = ppo.value_learning_rate or ppo.optimizer.learning_rate
            value = self._value_module(spec, resources)
            models.append(value.model)
            self.value = TrainingEngine(value, learning_rate=rate, **shared)
        self.packs = all(packs(model) for model in models)
        release_freed_memory()
        self.average = WeightAverage(ppo.ema_decay, master_weights(self.module)) if ppo.ema_decay else None
        self.random = RandomState(spec.seed)
        self.registry = StateRegistry()
        self.registry.register(self)

    def _value_module(self, spec: LearnerSpec, resources: ResourcesConfig) -> ValueModule:
        assert spec.value is not None
        reward = load_score_model(spec.value, torch.float32)
        recompute_activations(reward, resources)
        mean, deviation = reward.config.reward_mean, reward.config.reward_std
        return ValueModule(trainable(reward, spec.model.lora, spec.seed + 1, "SEQ_CLS"), mean, deviation)

    def _minibatches(self, step: int, epoch: int) -> tuple[Tensor, ...]:
        """Rows of each optimiser step of an epoch, in random order."""
        generator = torch.Generator().manual_seed((self.spec.seed * 100_003 + step) * 1_009 + epoch)
        return torch.randperm(self.spec.ppo.batch_size, generator=generator).chunk(self.spec.ppo.minibatches)

    def _prefix(self, batch: Responses) -> int:
        """How many tokens of all rows are held once: of the whole batch, so that before and in an update it is one."""
        return batch.shared_prefix if self.packs else 0

    def _passes(self, batch: Responses, rows: Tensor, prefix: int) -> list[Tensor]:
        """This rank's share of `rows`, pass by pass."""
        tokens_B = batch.attention_BS.sum(1) - prefix
        plan = plan_passes(tokens_B, rows, self.micro_batch, prefix, distributed.world_size())
        return [shares[distributed.rank()] for shares in plan]

    @torch.no_grad()
    def evaluate(self, rollouts: Rollouts, step: int) -> Evaluation:
        """Log-probs, values and entropy of this rank's rows, in the passes that the first epoch of the update makes.

        So they have the bits that the update finds, and PPO's ratio is exactly 1 before its first step.
        """
        prefix = self._prefix(rollouts)
        passes = [part for rows in self._minibatches(step, 0) for part in self._passes(rollouts, rows, prefix)]
        return Evaluation.join([self._evaluate_rows(rollouts, rows, prefix) for rows in passes])

    def _evaluate_rows(self, rollouts: Rollouts, index: Tensor, prefix: int) -> Evaluation:
        self.poll.together()
        rows = rollouts.select(index)
        responses = rows.packed(prefix).to(self.policy.device)
        temperature = self.spec.ppo.sampling.temperature
        if self.spec.model.lora is None:
            (logprob_M, entropy_M), values_M = self.policy(responses, logprob_op(responses.target_M, temperature))
            reference_M = kl_M = torch.zeros_like(logprob_M)
        else:
            reference_MD, _ = self.policy(responses, None, reference=True)
            op = logprob_kl_op(responses.target_M, temperature, reference_MD)
            (logprob_M, reference_M, entropy_M, kl_M), values_M = self.policy(responses, op)
        if self.value is not None:
            values_M = self.value(responses)
        if values_M is None:
            values_M = torch.zeros_like(logprob_M)
        columns = (logprob_M, reference_M, kl_M, values_M, entropy_M)
        return Evaluation(index, *(rows.padded(column_M.cpu()) for column_M in columns))

    def update(self, batch: PPOBatch, step: int, may_stop: bool = False) -> dict[str, float]:
        """All epochs over `batch` (whole on every rank). Statistics are means over the optimiser steps."""
        ppo = self.spec.ppo
        scale = SCHEDULES[ppo.optimizer.scheduler](step, ppo.steps, ppo.optimizer.warmup_ratio)
        prefix = self._prefix(batch)
        totals: dict[str, float] = {}
        for epoch in range(ppo.epochs):
            for rows in self._minibatches(step, epoch):
                if may_stop:
                    self.poll.together()
                for name, value in self._optimise(batch, rows, prefix, step, scale).items():
                    totals[name] = totals.get(name, 0.0) + value
        count = ppo.epochs * ppo.minibatches
        if self.average:
            self.average.update(master_weights(self.module))
        return {name: total / count for name, total in totals.items()}

    def _optimise(self, batch: PPOBatch, rows: Tensor, prefix: int, step: int, scale: float) -> dict[str, float]:
        """One optimiser step of policy and value on the minibatch `rows` (indexes into the whole batch)."""
        tokens = batch.response_mask_BT[rows].sum().clamp(min=1)
        passes = [batch.select(mine) for mine in self._passes(batch, rows, prefix)]
        sums, norms, ppo = Sums(), {}, self.spec.ppo
        if step >= ppo.value_warmup_steps:
            losses = policy_losses(self.policy, passes, prefix, tokens, ppo, sums)
            norms["policy_gradient_norm"] = self.policy.step(losses, scale)
        if self.value is not None:
            losses = value_losses(self.value, passes, prefix, tokens, ppo, sums)
            norms["value_gradient_norm"] = self.value.step(losses, scale)
        names = sorted(sums.totals)
        values = distributed.all_sum(torch.stack([sums.totals[name] for name in names]))
        known = {name: norm for name, norm in norms.items() if norm is not None}
        return dict(zip(names, values.tolist(), strict=True)) | known

    def weights(self) -> Mapping[str, Tensor]:
        """See Learner: on rank 0, where they lie, or copies on the CPU of what ZeRO-3 shards; all ranks must call."""
        with self.policy.gathered():
            model, whole = self.module.model, {}
            if distributed.rank() == 0:
                named = adapter_weights(model) if isinstance(model, PeftModel) else model.state_dict()
                whole = {name: tensor.detach() for name, tensor in named.items()}
                if self.policy.zero_stage == 3:
                    whole = {name: tensor.to("cpu", copy=True) for name, tensor in whole.items()}
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # an engine on the same device wakes for these
        return whole

    def layer_states(self, tokens: Sequence[int]) -> Tensor:
        """See Learner; all ranks must call."""
        return layer_states(self.module.model, tokens)

    def peak_flops(self) -> float:
        """Of this rank's device."""
        return peak_flops(self.policy.device, compute_dtype(self.spec.model.precision))

    def save(self, directory: Path) -> None:
        """Weights, optimisers and random state of this rank, and the moving average; see roles.Learner."""
        for name, engine in self._engines().items():
            engine.save(directory / name)
        self.files.save(self.registry.states(), directory / f"learner_rank{distributed.rank()}.pt")
        if distributed.rank() == 0:
            write_layout(directory, self.layout)

    def writing(self) -> bool:
        """See saving.Files: of this rank."""
        return self.files.writing()

    def flush(self) -> None:
        """See saving.Files: of this rank."""
        self.files.flush()

    def load(self, directory: Path) -> None:
        """Back to what `save` wrote, under this layout or another."""
        written, engines = read_layout(directory), self._engines()
        if written == self.layout:
            for name, engine in engines.items():
                engine.load(directory / name)
        else:
            log.warning("%s is taken over from %s to %s", directory, written, self.layout)
            for name, engine in engines.items():
                engine.load_other_layout(directory / name, directory.with_name(".universal"))
        self.registry.load(directory / f"learner_rank{distributed.rank() % written.learner_ranks}.pt")

    def _engines(self) -> dict[str, TrainingEngine]:
        return {"policy": self.policy} if self.value is None else {"policy": self.policy, "value": self.value}

    def snapshot(self, directory: Path) -> None:
        """weights.safetensors: the adapter, or all weights."""
        weights = self.weights()
        if distributed.rank() == 0:
            directory.mkdir(parents=True, exist_ok=True)
            # Copies: tied weights share memory, which the format cannot say.
            copies = {name: tensor.to("cpu", copy=True).contiguous() for name, tensor in weights.items()}
            save_file(copies, directory / "weights.safetensors")
        distributed.barrier()

    def export(self, folder: StageFolder) -> None:
        """The final policy from its fp32 master weights (or their moving average), and the adapter beside it."""
        master = self.average.weights if self.average else master_weights(self.module)
        if distributed.rank() == 0:
            start = load_causal_lm(self.spec.policy, torch.float32)
            model = trainable(start, self.spec.model.lora, self.spec.seed, "CAUSAL_LM")
            trained = {
                name.removeprefix(POLICY_PREFIX): tensor
                for name, tensor in master.items()
                if name.startswith(POLICY_PREFIX)
            }
            tokenizer = load_tokenizer(self.spec.policy, self.spec.model.pad_token)
            export_trained(model, trained, tokenizer, folder)
        distributed.barrier()
