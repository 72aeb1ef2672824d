"""Weights through shared memory, read by another process."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sandwiching.policy.vllm_server import buckets
from sandwiching.policy.vllm_server.buckets import Bucket, SharedBuckets

READER = """
import sys
import torch
from buckets import Bucket
for name, tensor in eval(sys.stdin.read()).tensors():
    print(name, tensor.dtype, tuple(tensor.shape), tensor.double().sum().item())
"""


def weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {f"layer.{i}": torch.randn(3 + i, 7, generator=generator) for i in range(5)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_another_process_reads_what_was_pushed(dtype: torch.dtype):
    shared, expected, seen = SharedBuckets(bucket_bytes=512), weights(), []
    for bucket in shared.fill(expected, dtype):
        folder = str(Path(buckets.__file__).parent)
        done = subprocess.run(
            [sys.executable, "-c", READER], cwd=folder, input=repr(bucket), capture_output=True, text=True, check=True
        )
        seen += done.stdout.splitlines()
    assert seen == [
        f"{name} {dtype} {tuple(x.shape)} {x.to(dtype).double().sum().item()}" for name, x in expected.items()
    ]
    shared.close()


def test_buckets_are_as_small_as_the_largest_tensor_allows():
    shared = SharedBuckets(bucket_bytes=1)
    parts = [[name for name, *_ in bucket.entries] for bucket in shared.fill(weights(), torch.float32)]
    assert parts == [["layer.0"], ["layer.1"], ["layer.2"], ["layer.3"], ["layer.4"]]
    assert shared.size == 7 * 7 * 4
    shared.close()


def test_a_reader_keeps_copies():
    shared = SharedBuckets(bucket_bytes=1)
    pushed = shared.fill({"a": torch.ones(4), "b": torch.zeros(4)}, torch.float32)
    first = dict(next(pushed).tensors())
    assert dict(next(pushed).tensors())["b"].equal(torch.zeros(4))
    assert first["a"].equal(torch.ones(4))
    shared.close()


def test_the_memory_goes_with_its_process():
    code = (
        "import torch; from buckets import *; print(next(SharedBuckets().fill({'a': torch.ones(2)}, torch.half)).path)"
    )
    folder = str(Path(buckets.__file__).parent)
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert not Path(done.stdout.strip()).exists()
    with pytest.raises(RuntimeError, match=r"/proc/"):
        list(Bucket(done.stdout.strip(), 8, (("a", "float32", (2,), 0),)).tensors())
