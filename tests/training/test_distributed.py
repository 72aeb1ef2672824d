"""Process groups leave nothing behind."""

import socket
import subprocess
import sys

import pytest
import torch.distributed as dist

from sandwiching.training.distributed import is_taken_port, set_rank_environment

CODE = """
from sandwiching.training import distributed
distributed.init_process_group()
assert distributed.world_size() == 1
assert distributed.shared_memory_files() == []
import os
print(os.environ["MASTER_PORT"])
"""


def test_no_shared_memory_outlives_the_processes() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1].isdigit()


def test_only_ranks_of_this_node_are_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", environment := {})
    set_rank_environment(2, 4, 0, 2, "10.0.0.1", 29500)
    assert (environment["WORLD_SIZE"], environment["LOCAL_SIZE"], environment["LOCAL_WORLD_SIZE"]) == ("4", "2", "2")


def test_a_port_that_was_taken_meanwhile_is_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(dist.DistNetworkError) as failure:
            dist.init_process_group("gloo", f"tcp://127.0.0.1:{taken.getsockname()[1]}", rank=0, world_size=1)
        assert is_taken_port(failure.value)
    assert not is_taken_port(dist.DistNetworkError("connection reset"))
    assert not is_taken_port(OSError("EADDRINUSE"))
