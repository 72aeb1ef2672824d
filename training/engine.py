"""A module under DeepSpeed, for the PPO learner: accumulate, step, and gather whatever the ZeRO stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import deepspeed
import torch
from torch import Tensor, nn

from sandwiching.configs.schema import OptimizerConfig, ResourcesConfig
from sandwiching.training import distributed
from sandwiching.training.deepspeed_config import deepspeed_config
from sandwiching.training.saving import BackgroundFiles, save_in_background
from sandwiching.training.universal import load_other_layout

TAG = "engine"
"""DeepSpeed's name of a checkpoint."""


class TrainingEngine:
    """One trained module on this rank. Only parameters that require gradients are optimised, gathered and saved."""

    def __init__(
        self,
        module: nn.Module,
        optimizer: OptimizerConfig,
        learning_rate: float,
        resources: ResourcesConfig,
        precision: str,
        most_passes: int,
        persistence_threshold: int,
        files: BackgroundFiles,
    ) -> None:
        self.module = module
        self.learning_rate = learning_rate
        self.zero_stage = resources.zero_stage
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        config = deepspeed_config(
            zero_stage=resources.zero_stage,
            precision=precision,
            micro_batch=resources.micro_batch,
            accumulation=most_passes,
            max_grad_norm=optimizer.max_grad_norm,
            offload=resources.offload,
            persistence_threshold=persistence_threshold,
        )
        adam = torch.optim.AdamW(
            trained, lr=learning_rate, eps=optimizer.adam_epsilon, weight_decay=optimizer.weight_decay, fused=True
        )
        self.optimizer = adam
        self.engine, *_ = deepspeed.initialize(model=module, optimizer=adam, config=config, dist_init_required=False)
        save_in_background(self.engine, files)

    @property
    def device(self) -> torch.device:
        """Where the module computes."""
        assert self.engine.device is not None
        return self.engine.device

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """The module's forward, through DeepSpeed (ZeRO-3 gathers weights in it)."""
        return self.engine(*inputs, **options)

    def step(self, losses: Sequence[Callable[[], Tensor]], scale: float) -> float | None:
        """One optimiser step from losses, one a pass, whose sum over all ranks is the loss.

        scale: learning rate relative to the configured one. Returns the gradient norm before clipping, which DeepSpeed
        does not tell without ZeRO.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * scale
        for number, loss in enumerate(losses, 1):
            # The number of passes depends on lengths, so DeepSpeed cannot know the last one.
            self.engine.set_gradient_accumulation_boundary(number == len(losses))
            # DeepSpeed averages gradients over ranks; the losses' denominators are global already.
            self.engine.backward(loss() * distributed.world_size(), scale_wrt_gas=False)
            self.engine.step()
        norm = self.engine.get_global_grad_norm()
        return None if norm is None else float(norm)

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Trained parameters are whole inside (ZeRO-3 partitions them outside)."""
        trained = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        if self.zero_stage == 3:
            with deepspeed.zero.GatheredParameters(trained):
                yield
        else:
            yield

    def save(self, directory: Path) -> None:
        """Trained weights and optimiser of every rank, as they are now; the files are written in the background."""
        self.engine.save_checkpoint(str(directory), tag=TAG, save_latest=False, exclude_frozen_parameters=True)

    def load(self, directory: Path) -> None:
        """Back to what `save` wrote."""
        path, _ = self.engine.load_checkpoint(str(directory), tag=TAG, load_module_strict=False)
        if path is None:
            raise ValueError(f"{directory} holds no DeepSpeed checkpoint")

    def load_other_layout(self, directory: Path, scratch: Path) -> None:
        """The same from other ranks or another ZeRO stage; see universal.py."""
        load_other_layout(self.engine, directory / TAG, scratch)
