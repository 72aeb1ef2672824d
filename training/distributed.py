"""The only user of torch.distributed: ranks, barriers and sums, which are no-ops for a single process."""

from __future__ import annotations

import os
import socket
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def set_rank_environment(rank: int, world_size: int, local_rank: int, address: str, port: int) -> None:
    """The variables by which DeepSpeed and accelerate find their process group."""
    os.environ.update(
        RANK=str(rank),
        WORLD_SIZE=str(world_size),
        LOCAL_RANK=str(local_rank),
        LOCAL_WORLD_SIZE=str(world_size),
        LOCAL_SIZE=str(world_size),
        CROSS_RANK="0",
        CROSS_SIZE="1",
        MASTER_ADDR=address,
        MASTER_PORT=str(port),
    )
    if not torch.cuda.is_available():
        os.environ["DS_ACCELERATOR"] = "cpu"


def single_process_env() -> None:
    """Make this process rank 0 of 1, unless a launcher has set the ranks already."""
    if "RANK" not in os.environ:
        set_rank_environment(0, 1, 0, "127.0.0.1", free_port())
    elif not torch.cuda.is_available():
        os.environ["DS_ACCELERATOR"] = "cpu"


def init_process_group() -> None:
    """Join the process group of the environment (gloo on CPU, nccl on GPUs), through DeepSpeed."""
    single_process_env()
    import deepspeed

    if not dist.is_initialized():
        deepspeed.init_distributed(
            dist_backend="nccl" if torch.cuda.is_available() else "gloo", auto_mpi_discovery=False, verbose=False
        )


def rank() -> int:
    """This process's rank; 0 outside a process group."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Ranks in the process group; 1 outside one."""
    return dist.get_world_size() if dist.is_initialized() else 1


def barrier() -> None:
    """Wait for all ranks."""
    if world_size() > 1:
        dist.barrier()


def all_sum(values: Tensor) -> Tensor:
    """Sum over ranks, of any shape; comes back where it was."""
    if world_size() == 1:
        return values
    moved = values.cuda() if dist.get_backend() == "nccl" else values
    dist.all_reduce(moved)
    return moved.to(values.device)


def all_gather_objects(value: Any) -> list[Any]:
    """What each rank holds, in rank order; small picklable objects only."""
    if world_size() == 1:
        return [value]
    gathered: list[Any] = [None] * world_size()
    dist.all_gather_object(gathered, value)
    return gathered
