"""What a process that computes is told at its start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from sandwiching.configs.schema import ResourcesConfig
from sandwiching.kernels import backends
from sandwiching.launch.environment import prepare_process


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    backends.use_backend("auto")


def test_threads_and_kernels_are_those_of_the_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(backends.ENVIRONMENT, raising=False)
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    prepare_process(ResourcesConfig(kernels="torch"), 1)
    assert torch.get_num_threads() == 1
    assert backends.row_backend(torch.device("cuda"), torch.float32) == "torch"


def test_kernels_that_are_not_installed_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "has_triton", lambda: False)
    backends._check.cache_clear()
    with pytest.raises(ValueError, match="kernels=triton: Triton is not installed"):
        prepare_process(ResourcesConfig(kernels="triton"), 1)
