"""The only user of torch.distributed: ranks, barriers and sums, which are no-ops for a single process."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.cpp_extension import get_default_build_root

BUILD_SECONDS = 300
"""Longer than DeepSpeed's communication op takes to compile."""


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def set_rank_environment(rank: int, world_size: int, local_rank: int, local_size: int, address: str, port: int) -> None:
    """The variables by which DeepSpeed and accelerate find their process group.

    local_size: ranks on this node. Where it is the world's size, DeepSpeed on CPU sums through /dev/shm.
    """
    os.environ.update(
        RANK=str(rank),
        WORLD_SIZE=str(world_size),
        LOCAL_RANK=str(local_rank),
        LOCAL_WORLD_SIZE=str(local_size),
        LOCAL_SIZE=str(local_size),
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
        set_rank_environment(0, 1, 0, 1, "127.0.0.1", free_port())
    elif not torch.cuda.is_available():
        os.environ["DS_ACCELERATOR"] = "cpu"


def init_process_group() -> None:
    """Join the process group of the environment (gloo on CPU, nccl on GPUs), through DeepSpeed.

    DeepSpeed's shared-memory op leaves a file of 66 MiB in /dev/shm for ever, one a rank. Once every rank has mapped
    it, the name is not needed: it is removed here, so that even a kill -9 leaks nothing.
    """
    single_process_env()
    use_extensions_of_environment()
    remove_stale_locks()
    import deepspeed

    if not dist.is_initialized():
        deepspeed.init_distributed(
            dist_backend="nccl" if torch.cuda.is_available() else "gloo", auto_mpi_discovery=False, verbose=False
        )
    elif deepspeed.comm.comm.cdb is None:
        deepspeed.init_distributed(auto_mpi_discovery=False, verbose=False)
    barrier()
    for file in shared_memory_files():
        file.unlink(missing_ok=True)


def use_extensions_of_environment() -> None:
    """Ops that DeepSpeed compiles lie in the Python environment that they are compiled for, where it can be written.

    In torch's own place, the home, environments with other versions of DeepSpeed would compile over each other.
    """
    place = Path(sys.prefix) / "torch_extensions"
    if place.exists() or os.access(sys.prefix, os.W_OK):
        os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(place))


def remove_stale_locks() -> None:
    """A build that was killed leaves a lock on which every later start would wait for ever; a young one is at work."""
    named = os.environ.get("TORCH_EXTENSIONS_DIR")
    root, pattern = (Path(named), "*/lock") if named else (Path(get_default_build_root()), "*/*/lock")
    for lock in root.glob(pattern) if root.exists() else ():
        if time.time() - lock.stat().st_mtime > BUILD_SECONDS:
            shutil.rmtree(lock.parent, ignore_errors=True)  # another rank may be first


def shared_memory_files() -> list[Path]:
    """What DeepSpeed's shared-memory op holds in /dev/shm for this process group on this node."""
    group = f"{os.getuid()}_{os.environ['MASTER_ADDR']}_{os.environ['MASTER_PORT']}"
    return list(Path("/dev/shm").glob(f"deepspeed_allreduce_buffer_{group}_*"))


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


def is_broken_collective(error: BaseException) -> bool:
    """Whether a collective failed because a peer was not there; gloo has no class of its own for that."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)


def is_taken_port(error: BaseException) -> bool:
    """Whether another process took the port between `free_port` and the first rank's listening there."""
    return isinstance(error, dist.DistNetworkError) and "EADDRINUSE" in str(error)


def all_gather_objects(value: Any) -> list[Any]:
    """What each rank holds, in rank order; small picklable objects only."""
    if world_size() == 1:
        return [value]
    gathered: list[Any] = [None] * world_size()
    dist.all_gather_object(gathered, value)
    return gathered
