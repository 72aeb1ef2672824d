"""A weight-transfer backend of vLLM's: buckets.Bucket -> layer by layer into the running model, at any parallelism.

vLLM repacks weights after it has loaded them (on CPU always), so they cannot be overwritten where they stand: its layer
reload takes checkpoint names, and repacks a layer when the last of its weights has come.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from buckets import Bucket  # pyright: ignore[reportMissingImports]
from vllm.distributed.weight_transfer.base import (  # pyright: ignore[reportMissingImports]
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import (  # pyright: ignore[reportMissingImports]
    WeightTransferEngineFactory,
)
from vllm.model_executor.model_loader.reload import (  # pyright: ignore[reportMissingImports]
    finalize_layerwise_reload,
    initialize_layerwise_reload,
)

BACKEND = "shared_memory"


@dataclass
class InitInfo(WeightTransferInitInfo):
    """Nothing has to be agreed on."""


@dataclass
class UpdateInfo(WeightTransferUpdateInfo):
    """The fields of a Bucket."""

    path: str
    size: int
    entries: Sequence[Any]


class SharedMemoryEngine(WeightTransferEngine[InitInfo, UpdateInfo]):
    """The receiving side, in every worker process."""

    init_info_cls = InitInfo
    update_info_cls = UpdateInfo

    def init_transfer_engine(self, init_info: InitInfo) -> None:
        """Nothing to set up."""

    def start_weight_update(self) -> None:
        """Layers are emptied and wait for their weights."""
        self.missing = {name for name, _ in self.model.named_parameters()}
        initialize_layerwise_reload(self.model)

    def receive_weights(self, update_info: UpdateInfo) -> None:
        """Load one bucket."""
        bucket = Bucket(update_info.path, update_info.size, tuple(update_info.entries))
        loaded = self.model.load_weights((name, weight.to(self.device)) for name, weight in bucket.tensors())
        self.missing -= loaded if loaded is not None else self.missing

    def finish_weight_update(self) -> None:
        """Raises ValueError for weights that did not come: vLLM itself would go on with old ones, or with none."""
        finalize_layerwise_reload(self.model, self.model_config)
        if self.missing:
            raise ValueError(f"{len(self.missing)} weights were not pushed, among them {min(self.missing)}")

    def shutdown(self) -> None:
        """Nothing is held."""


class Extension:
    """What every worker can do besides: vLLM imports this before the worker makes its transfer engine."""

    model_runner: Any

    def watch_layers(self) -> None:
        """Keep what each decoder layer makes of the last token of the next prompt."""
        self.states: list[list[float]] = []
        layers = next(m for m in self.model_runner.get_model().modules() if isinstance(m, torch.nn.ModuleList))
        self.hooks = [layer.register_forward_hook(self._keep) for layer in layers]

    def watched_layers(self) -> list[list[float]]:
        """[layers, D]."""
        for hook in self.hooks:
            hook.remove()
        return self.states

    def _keep(self, _: torch.nn.Module, __: Any, output: Any) -> None:
        # A layer gives what it adds, and the residual stream that it is added to.
        parts = output if isinstance(output, tuple) else (output,)
        self.states.append(torch.stack([part[-1].float() for part in parts if part is not None]).sum(0).tolist())


WeightTransferEngineFactory.register_engine(BACKEND, SharedMemoryEngine)
