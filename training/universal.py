"""DeepSpeed checkpoints under another layout: number of ranks, ZeRO stage, offload.

    files of one layout -> a file a parameter (DeepSpeed's universal format) -> set one by one in an engine of another

DeepSpeed loads the universal format under the ZeRO stage that wrote it alone, hence the second step.
"""

from __future__ import annotations

import logging
import shutil
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from sys import stderr
from typing import Any

import deepspeed
import torch
from deepspeed import DeepSpeedEngine
from deepspeed.checkpoint import ds_to_universal
from deepspeed.utils import (
    safe_set_full_fp32_param,
    safe_set_full_optimizer_state,
    safe_set_local_fp32_param,
    safe_set_local_optimizer_state,
)
from torch import Tensor, nn

from sandwiching.training import distributed

MOMENTS = ("exp_avg", "exp_avg_sq")
Read = Callable[[str, str], Tensor]
"""(parameter, fp32 or one of MOMENTS) -> flat values on the CPU."""
log = logging.getLogger(__name__)


def load_other_layout(engine: DeepSpeedEngine, files: Path, scratch: Path) -> None:
    """Weights and Adam's moments from the checkpoint folder `files` of DeepSpeed's; all ranks must call.

    scratch: not there yet, and shared by all ranks.
    """
    module: Any = engine.module
    first = min(files.glob("*mp_rank_00_model_states.pt"))
    states = torch.load(first, map_location="cpu", mmap=True, weights_only=False)
    if states["global_steps"] == 0:
        return  # as it was built: Adam's moments are not even made
    trained = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    if list(files.glob("*optim_states.pt")):
        with _universal(files, scratch) as folder:
            _set_all(engine, trained, _reader(folder), states["global_steps"])
    else:
        _set_all(engine, trained, _plain_reader(states, _in_order(engine)), states["global_steps"])


@contextmanager
def _universal(files: Path, scratch: Path) -> Iterator[Path]:
    """The universal form of `files`, while inside. Rank 0 makes and removes it."""
    if distributed.rank() == 0:
        shutil.rmtree(scratch, ignore_errors=True)
        with redirect_stdout(stderr):
            ds_to_universal.main(
                Namespace(
                    input_folder=str(files),
                    output_folder=str(scratch / "engine"),
                    num_extract_workers=1,
                    num_merge_workers=1,
                    keep_temp_folder=False,
                    strict=True,
                    # Ours names no patterns of other frameworks' parameters.
                    inject_missing_state=True,
                )
            )
    distributed.barrier()
    try:
        yield scratch / "engine"
    finally:
        distributed.barrier()
        if distributed.rank() == 0:
            shutil.rmtree(scratch)


def _reader(folder: Path) -> Read:
    """Of the universal format."""

    def read(name: str, state: str) -> Tensor:
        content = torch.load(folder / "zero" / name / f"{state}.pt", map_location="cpu", weights_only=False)
        return (content["param"] if isinstance(content, dict) else content).flatten()

    return read


def _in_order(engine: DeepSpeedEngine) -> list[str]:
    """Names of the trained parameters, as the optimiser's groups have them."""
    optimizer: Any = engine.optimizer
    for name in ("fp16_groups", "bit16_groups", "bf16_groups"):
        if hasattr(optimizer, name):
            return [engine.param_names[parameter] for group in getattr(optimizer, name) for parameter in group]
    return [engine.param_names[parameter] for group in optimizer.param_groups for parameter in group["params"]]


def _plain_reader(states: dict[str, Any], names: list[str]) -> Read:
    """Of a checkpoint without ZeRO, whose optimiser numbers its parameters: `names` in order."""
    moments = states["optimizer"]["state"]

    def read(name: str, state: str) -> Tensor:
        tensor = states["module"][name] if state == "fp32" else moments[names.index(name)][state]
        return tensor.float().cpu().flatten()

    return read


def _set_all(engine: DeepSpeedEngine, trained: dict[str, nn.Parameter], read: Read, steps: int) -> None:
    _empty_moments(engine, steps)
    adam: Any = engine.basic_optimizer
    for name, parameter in trained.items():
        states = {state: read(name, state).to(engine.device) for state in ("fp32", *MOMENTS)}
        if hasattr(parameter, "ds_id"):
            _set_sharded(parameter, states)
        elif hasattr(parameter, "_hp_mapping"):
            safe_set_full_fp32_param(parameter, states["fp32"])
            for state in MOMENTS:
                safe_set_full_optimizer_state(parameter, states[state], state)
            parameter.data.copy_(states["fp32"].view_as(parameter))
        else:
            parameter.data.copy_(states["fp32"].view_as(parameter))
            for state in MOMENTS:
                adam.state[parameter][state].copy_(states[state].view_as(parameter))
    engine.global_steps = steps


def _empty_moments(engine: DeepSpeedEngine, steps: int) -> None:
    """Zeros, as Adam has them before its first step: DeepSpeed's optimisers make them no sooner."""
    optimizer: Any = engine.optimizer
    adam: Any = engine.basic_optimizer
    for name in ("fp32_partitioned_groups_flat", "single_partition_of_fp32_groups", "fp32_groups_flat_partition"):
        if hasattr(optimizer, name):
            held = getattr(optimizer, name)
            break
    else:
        held = [parameter for group in adam.param_groups for parameter in group["params"]]
    for tensor in held:
        zeros = {state: torch.zeros_like(tensor) for state in MOMENTS}
        step = torch.tensor(float(steps), device=tensor.device)
        adam.state[tensor] = {"step": step, **zeros}
    if hasattr(optimizer, "_lazy_init_hp_params_optimizer_state"):
        optimizer._lazy_init_hp_params_optimizer_state()


def _set_sharded(parameter: Any, states: dict[str, Tensor]) -> None:
    """Under ZeRO-3: this rank's share, the last one padded, and the working copy."""
    size, rank = parameter.ds_tensor.numel(), distributed.rank()

    def share(flat: Tensor) -> Tensor:
        missing = size * distributed.world_size() - len(flat)
        return nn.functional.pad(flat, (0, missing)).narrow(0, size * rank, size)

    safe_set_local_fp32_param(parameter, share(states["fp32"]))
    for state in MOMENTS:
        safe_set_local_optimizer_state(parameter, share(states[state]), state)
    with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0):
        parameter.data.copy_(states["fp32"].view_as(parameter))
