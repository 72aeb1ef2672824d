"""What the two Hugging Face trainers share (SFT and reward model): arguments, DeepSpeed, sealed checkpoints, metrics.

The trainers see a dataset whose rows are already in training order, so an optimiser step is the same set of rows
whatever the ranks, the micro-batch or the accumulation: one epoch of Hugging Face's loop, read sequentially.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState, GradientState
from deepspeed import DeepSpeedEngine
from torch import Tensor, nn
from transformers import PrinterCallback, Trainer
from transformers.integrations.deepspeed import unset_hf_deepspeed_config
from transformers.trainer import TRAINER_STATE_NAME

from sandwiching.configs.schema import OptimizerConfig, ResourcesConfig
from sandwiching.training import distributed
from sandwiching.training.artifacts import StageFolder, Stopped
from sandwiching.training.checkpoints import RECORD, Layout, latest, read_layout, step_of, write_layout
from sandwiching.training.deepspeed_config import deepspeed_config
from sandwiching.training.metrics import MetricsLog
from sandwiching.training.recorder import Observer, Sealer, StepRecorder, Stopper, no_observer
from sandwiching.training.saving import BackgroundFiles, RankFiles, Saver, save_in_background
from sandwiching.training.schedule import SCHEDULES
from sandwiching.training.universal import load_other_layout
from sandwiching.training.weights import master_weights

log = logging.getLogger(__name__)
ALWAYS = {
    "num_train_epochs": 1,
    "train_sampling_strategy": "sequential",
    "optim": "adamw_torch_fused",
    "save_strategy": "steps",
    "logging_strategy": "steps",
    "logging_steps": 1,
    "logging_nan_inf_filter": False,
    "remove_unused_columns": False,
    "report_to": "none",
    "disable_tqdm": True,
}
"""Arguments that every training has: one pass over rows in order, every step logged, nobody told."""


def trainer_arguments(
    *,
    optimizer: OptimizerConfig,
    resources: ResourcesConfig,
    precision: str,
    rows_per_batch: int,
    accumulation: int,
    seed: int,
    folder: StageFolder,
    persistence_threshold: int,
) -> dict[str, Any]:
    """Keyword arguments of TRL's SFTConfig and RewardConfig that both stages share.

    persistence_threshold: parameters of fewer elements stay whole under ZeRO-3.
    Raises ValueError for bf16 without ZeRO, where DeepSpeed's fp32 master weights cannot be read back.
    """
    if precision == "bf16" and resources.zero_stage == 0:
        raise ValueError("resources.zero_stage=0 keeps no fp32 master weights for model.precision=bf16: use 1, 2 or 3")
    # Without it accelerate sets the thread count by its own guess, and another count gives other bits.
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
    return {
        "output_dir": str(folder.checkpoints),
        "per_device_train_batch_size": rows_per_batch,
        "gradient_accumulation_steps": accumulation,
        "learning_rate": optimizer.learning_rate,
        "weight_decay": optimizer.weight_decay,
        "adam_epsilon": optimizer.adam_epsilon,
        "max_grad_norm": optimizer.max_grad_norm,
        "bf16": precision == "bf16",
        "use_cpu": not torch.cuda.is_available(),
        "activation_checkpointing": resources.gradient_checkpointing,
        "deepspeed": deepspeed_config(
            zero_stage=resources.zero_stage,
            precision=precision,
            micro_batch=rows_per_batch,
            accumulation=accumulation,
            max_grad_norm=optimizer.max_grad_norm,
            offload=resources.offload,
            persistence_threshold=persistence_threshold,
        ),
        "save_steps": resources.checkpoint_every,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "seed": seed,
        **ALWAYS,
    }


class SealedTrainer(Trainer):
    """A Trainer under DeepSpeed whose checkpoints are whole or absent. Mix in before TRL's trainer.

    A checkpoint holds DeepSpeed's state of every rank (weights, optimiser), the scheduler, the random generators of
    every rank and the trainer's position.
    """

    folder: StageFolder
    files: BackgroundFiles
    saver: Saver
    layout: Layout
    schedule: OptimizerConfig
    recorder: StepRecorder
    stopper: Stopper

    def setup(
        self,
        stage: str,
        folder: StageFolder,
        resources: ResourcesConfig,
        schedule: OptimizerConfig,
        observer: Observer | None,
    ) -> None:
        """Where checkpoints and metrics go, and which schedule the learning rate follows."""
        self.folder = folder
        self.files = BackgroundFiles()
        self.saver = Saver(folder, RankFiles(self.files), resources, seals=distributed.rank() == 0)
        self.layout = Layout(distributed.world_size(), resources.zero_stage, resources.offload)
        self.schedule = schedule
        self.recorder = StepRecorder(stage, folder, observer or no_observer, self.saver.take_held)
        self.stopper = Stopper(folder)
        self.remove_callback(PrinterCallback)
        self.add_callback(self.recorder)
        self.add_callback(self.stopper)
        self.add_callback(Sealer(self.saver))

    def _send_telemetry(self) -> None:
        """Nothing is sent anywhere."""

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """The schedules of training/schedule.py, which PPO uses too."""
        scale, ratio = SCHEDULES[self.schedule.scheduler], self.schedule.warmup_ratio
        chosen = self.optimizer if optimizer is None else optimizer
        assert isinstance(chosen, torch.optim.Optimizer)
        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
            chosen, lambda step: scale(min(step, num_training_steps), num_training_steps, ratio)
        )
        self._created_lr_scheduler = True
        # The trainer has its engine by now, and loads a checkpoint next.
        wrapper: Any = self.accelerator.deepspeed_engine_wrapped
        engine = wrapper.engine
        engine.load_checkpoint = partial(self._load_engine, engine.load_checkpoint, engine)
        save_in_background(engine, self.files)
        return self.lr_scheduler

    def _load_engine(
        self, native: Callable[..., Any], engine: DeepSpeedEngine, checkpoint: str, **options: Any
    ) -> tuple[str, dict[str, Any]]:
        """DeepSpeed's load_checkpoint, of any layout."""
        path = Path(checkpoint)
        written = read_layout(path)
        if written == self.layout:
            return native(checkpoint, **options)
        log.warning("%s is taken over from %s to %s", path, written, self.layout)
        (files,) = path.glob("global_step*")
        load_other_layout(engine, files, path.with_name(".universal"))
        return checkpoint, {}

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        # Of the next step: a scheduler sets it behind each step only, and another layout's files do not hold it.
        optimizer: Any = self.optimizer
        for group, rate in zip(optimizer.param_groups, self.lr_scheduler.get_last_lr(), strict=True):
            group["lr"] = rate

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        step = self.state.global_step
        temporary = self.saver.begin(step)
        distributed.barrier()
        self._save_optimizer_and_scheduler(str(temporary))
        self._save_rng_state(str(temporary))
        if distributed.rank() == 0:
            self.state.save_to_json(str(temporary / TRAINER_STATE_NAME))
            MetricsLog(temporary / RECORD).write({"step": step, **self.recorder.last})
            write_layout(temporary, self.layout)
        # Rank 0 may be done with a file that another has not begun.
        distributed.barrier()
        self.saver.end(temporary, step)

    def run(self) -> dict[str, float]:
        """Train to the end from the newest good checkpoint. Returns the metrics of the last step (rank 0).

        Raises Stopped, on every rank and after a checkpoint, when the folder asks for it.
        """
        checkpoint = distributed.all_gather_objects(
            latest(self.folder.checkpoints) if distributed.rank() == 0 else None
        )[0]
        if distributed.rank() == 0:
            self.recorder.log.cut(0 if checkpoint is None else step_of(checkpoint))
        with self.saver:
            self.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        self.files.close()
        if self.stopper.asked:
            self.release()
            raise Stopped(f"{self.folder.path.name} stopped after step {self.state.global_step}")
        return self.recorder.recorded()

    def trained_weights(self) -> dict[str, Tensor]:
        """See master_weights."""
        assert self.model is not None
        return master_weights(self.model)

    def release(self) -> None:
        """Give the engine's memory and hooks back, and make `from_pretrained` in this process normal again."""
        engine = self.model_wrapped
        assert isinstance(engine, DeepSpeedEngine)
        engine.destroy()
        self.accelerator.free_memory()
        reset_accelerate_state()


def reset_accelerate_state() -> None:
    """Forget the DeepSpeed plugin; after ZeRO-3 the next from_pretrained would give empty weights otherwise."""
    unset_hf_deepspeed_config()
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
